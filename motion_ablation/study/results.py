"""The results of a study: what every table, interval and figure of it is made from."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from motion_ablation.cache.artefacts import Artefacts
from motion_ablation.metrics import METRICS
from motion_ablation.records import CELL
from motion_ablation.study.finished import Finished
from motion_ablation.study.plan.study import Study

NOISES = {"blend": "the reference's inverted noise, blended: the paper's setting", "random": "random: isolates what the embedding does"}
COLUMNS = ("experiment", "same_as", "reference", "train_seed", "prompt", "seed", "noise", "metric", "score")
MEASURED = ".measured"  # an experiment cannot be called so: it would be a hidden file


class Results:
    """All that the finished runs of a study left: the one reader of it, whatever is to be told. Each run is read once.

    Attributes:
        study: whose. every: its finished runs, experiment by experiment in the table's order; one that resolves to the same as
            another has that one's runs. finished: those on references that tables count, see :attr:`.Study.judged`.
    """

    def __init__(self, study: Study) -> None:
        self.study = study
        done = {run.name: result for run in study.runs if (result := run.result()) is not None and result["status"] == "done"}
        self.every = [
            Finished(experiment, run, done[run.name])
            for experiment in study.experiments
            for run in study.runs_of(experiment)
            if run.name in done
        ]
        self.finished = [each for each in self.every if each.run.reference not in study.shown]

    def of(self, experiment: str) -> list[Finished]:
        """An experiment's finished runs."""
        return [each for each in self.finished if each.experiment == experiment]

    def first(self, experiment: str, reference: str) -> Finished | None:
        """Of an experiment's finished runs on a reference, one that is only shown too, that of the first training seed."""
        return next((each for each in self.every if (each.experiment, each.run.reference) == (experiment, reference)), None)

    @cached_property
    def frame(self) -> pd.DataFrame:
        """One row per scored video and metric, and one per run, noise and metric of whole sets.

        Columns:
            experiment, same_as (the experiment whose runs it shares, or empty), reference, train_seed, prompt, seed, noise, metric,
            score. A set's row (``fid``) has an empty prompt and no seed (``<NA>``). A score that could not be computed is NaN.
        """
        return as_frame(row for each in self.finished for row in self._rows(each))

    def _rows(self, each: Finished) -> Iterator[tuple[Any, ...]]:
        shared = (each.experiment, each.same_as, each.run.reference, each.run.train_seed)
        scored = set()
        for row in each.rows:
            for metric, score in row.items():
                if metric not in CELL:
                    scored.add((row["noise"], metric))
                    yield (*shared, row["prompt"], row["seed"], row["noise"], metric, score)
        for name, score in each.result["metrics"].items():
            noise, metric = name.split("/", 1)
            if (noise, metric) not in scored:
                yield (*shared, "", None, noise, metric, score)

    @property
    def noises(self) -> list[str]:
        """The initial noises that were generated from, the paper's first."""
        return noises_of(self.frame["noise"])

    @property
    def measured(self) -> Artefacts:
        """What reports have measured on the videos, in the study's folder, so that the next report finds it."""
        return Artefacts(self.study.folder / MEASURED)

    def csv(self) -> str:
        """One row per generated video of each run, as CSV."""
        rows = []
        for each in self.finished:
            result = each.result
            shared = {"experiment": each.experiment, "same_as": each.same_as, "train_seed": each.run.train_seed}
            for row in each.rows:
                sets = {f"run_{m}": result["metrics"].get(f"{row['noise']}/{m}", np.nan) for m in self.study.metrics if m not in row}
                parts = self.study.strata.get(row["reference"])
                part = {} if parts is None else {"stratum": parts.get(row["prompt"], "")}
                rows.append({**shared, **row, **part, **sets, "trainable": result["parameters"]["trainable"], "seconds": result["seconds"]})
        text = io.StringIO()
        writer = csv.DictWriter(text, list(dict.fromkeys(key for row in rows for key in row)), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        return text.getvalue()


def as_frame(rows: Iterable[tuple[Any, ...]]) -> pd.DataFrame:
    """Rows of :data:`COLUMNS` as a data frame of fixed types, also where there are none."""
    frame = pd.DataFrame(list(rows), columns=list(COLUMNS))
    text = [name for name in COLUMNS if name not in ("train_seed", "seed", "score")]
    frame[text] = frame[text].astype("str")
    return frame.astype({"train_seed": "int64", "seed": "Int64", "score": "float64"})


def noises_of(names: Iterable[str]) -> list[str]:
    """The initial noises among ``names``, each once, the paper's first."""
    found = dict.fromkeys(names.unique() if isinstance(names, pd.Series) else names)
    return [noise for noise in NOISES if noise in found] + [noise for noise in found if noise not in NOISES]


def higher_is_better(metric: str) -> bool | None:
    """Which way is better; None where neither is."""
    return METRICS[metric].higher_is_better


def set_level(metric: str) -> bool:
    """Whether only a whole set of videos has a score."""
    return not METRICS[metric].per_sample


def truths_of(frame: pd.DataFrame) -> list[str]:
    """The metrics of the built-in world's truth that have a score, in the frame's order."""
    taken = frame.loc[frame["score"].notna(), "metric"].unique()
    return [metric for metric in taken if metric in METRICS and METRICS[metric].requires_truth]


def reference_means(frame: pd.DataFrame) -> pd.Series:
    """The mean score of each reference, by name: over its trainings of their means over videos; videos without a score are left out."""
    trainings = frame.groupby(["reference", "train_seed"], sort=False)["score"].mean().dropna()
    return trainings.groupby("reference", sort=False).mean()
