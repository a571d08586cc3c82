"""The scores that the runs wrote, in long form: what every table, interval and figure of a study is made from."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd

from motion_ablation.metrics import METRICS
from motion_ablation.study.plan.study import Run, Study

NOISES = {"blend": "the reference's inverted noise, blended: the paper's setting", "random": "random: isolates what the embedding does"}
COLUMNS = ("experiment", "same_as", "reference", "train_seed", "prompt", "seed", "noise", "metric", "score")
CELL = ("reference", "prompt", "seed", "noise")

Results = dict[tuple[str, str], dict[str, Any]]


def done_runs(study: Study) -> list[tuple[str, Run, dict[str, Any]]]:
    """Experiment, run and result of all that is done, in the table's order; experiments that share runs share results."""
    found = []
    for experiment in study.experiments:
        owner = study.same_as.get(experiment, experiment)
        for run in study.runs:
            result = run.result() if run.experiment == owner else None
            if result is not None and result["status"] == "done":
                found.append((experiment, run, result))
    return found


def done_results(study: Study) -> Results:
    """Results by experiment and reference, of the first training seed that is done."""
    found: Results = {}
    for experiment, run, result in done_runs(study):
        found.setdefault((experiment, run.reference), result)
    return found


def scores_frame(study: Study) -> pd.DataFrame:
    """One row per scored video and metric, and one per run, noise and metric of whole sets.

    Columns:
        experiment, same_as (the experiment whose runs it shares, or empty), reference, train_seed, prompt, seed, noise, metric, score.
        A set's row (``fid``) has an empty prompt and no seed (``<NA>``). A score that could not be computed is NaN.
    """
    rows: list[tuple[Any, ...]] = []
    for experiment, run, result in done_runs(study):
        shared = (experiment, study.same_as.get(experiment, ""), run.reference, run.train_seed)
        scored = set()
        for cell in result["cells"]:
            for metric, score in cell.items():
                if metric not in CELL:
                    rows.append((*shared, cell["prompt"], cell["seed"], cell["noise"], metric, score))
                    scored.add((cell["noise"], metric))
        for name, score in result["metrics"].items():
            noise, metric = name.split("/", 1)
            if (noise, metric) not in scored:
                rows.append((*shared, "", None, noise, metric, score))
    return as_frame(rows)


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


def scores_csv(study: Study) -> str:
    """One row per generated video of each run, as CSV."""
    rows = []
    for experiment, run, result in done_runs(study):
        shared = {"experiment": experiment, "same_as": study.same_as.get(experiment, ""), "train_seed": run.train_seed}
        for cell in result["cells"]:
            sets = {f"run_{m}": result["metrics"].get(f"{cell['noise']}/{m}", np.nan) for m in study.metrics if m not in cell}
            rows.append({**shared, **cell, **sets, "trainable": result["parameters"]["trainable"], "seconds": result["seconds"]})
    columns = dict.fromkeys(key for row in rows for key in row)
    text = io.StringIO()
    writer = csv.DictWriter(text, list(columns), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
