"""Control rows: what the metrics say where the right answer is known.

* **reference itself**, the ceiling: the reference's own frames scored as if they had been generated.
* **shuffled reference**, the floor of what reads the reference: the baseline's videos scored against *other* references of the study.

The third control, the backbone without motion, is an ordinary experiment (``no_motion``).
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from statistics import fmean
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from motion_ablation.cache.code import code_of
from motion_ablation.data.world.segmentation import against_truth
from motion_ablation.metrics import METRICS, VideoMetric
from motion_ablation.records import Cell, Clip, Sample
from motion_ablation.study.finished import DEVICE, Finished, NotThere
from motion_ablation.study.results import TRUTH, Results, as_frame, noises_of, reference_means, truths_of

ITSELF = "reference itself"
SHUFFLED = "shuffled reference"
OTHERS = 3
MARGIN = 0.05  # of a metric's range: a ceiling must be as far above its floor for scores to be told as a place between them


@dataclass(frozen=True)
class Scale:
    """Where a rescaled metric has its 0 and its 1."""

    floor: float
    ceiling: float

    def __call__(self, score: float) -> float:
        """The score's place between floor and ceiling; it may lie outside."""
        return (score - self.floor) / (self.ceiling - self.floor)


@dataclass(frozen=True)
class Controls:
    """The control rows of a study.

    Attributes:
        frame: scores with the columns of :attr:`motion_ablation.study.results.Results.frame`, under the experiments :data:`ITSELF` and
            :data:`SHUFFLED`. notes: why something is missing.
    """

    frame: pd.DataFrame
    notes: list[str]

    def scale(self, metric: str, noise: str) -> Scale | None:
        """Floor and ceiling of a metric that rescales; None for others, where either is missing, or without room between."""
        if metric in TRUTH or not METRICS[metric].rescales:
            return None
        own = self.frame[(self.frame["metric"] == metric) & (self.frame["noise"] == noise)]
        means = [float(reference_means(own[own["experiment"] == name]).mean()) for name in (SHUFFLED, ITSELF)]
        low, high = METRICS[metric].range
        return Scale(*means) if means[1] - means[0] > MARGIN * (high - low) else None


def controls(results: Results) -> Controls:
    """Scores the videos of the first card's baseline and their references; what was scored before is read from the study's folder.

    Scores with each run's own configuration of a metric. Metrics that read a prompt say nothing of a reference by itself; those that do
    not read the reference are not changed by shuffling it and are copied. Of many references each video meets the next :data:`OTHERS`.
    """
    study, frame = results.study, results.frame
    baseline = study.cards[0].baseline
    runs = results.of(baseline)
    if not runs:
        return Controls(as_frame([]), [f"No control rows: the baseline `{baseline}` has no result."])
    scorer = _Scorer(results, baseline)
    noises = noises_of(frame["noise"])
    rows: list[tuple[Any, ...]] = []
    for metric in study.metrics:
        for done in runs:
            rows += [(ITSELF, *row) for row in scorer.attempt(scorer.itself, done, noises, metric)]
            if len(scorer.references) > 1:
                rows += [(SHUFFLED, *row) for row in scorer.attempt(scorer.shuffled, done, done.cells, metric)]
    if truths_of(frame):
        try:
            rows += scorer.truths(runs, noises)
        except (NotThere, OSError) as error:
            scorer.lose("the truth", error)
    copied = frame[(frame["experiment"] == baseline) & frame["metric"].isin([name for name in study.metrics if not scorer.compares(name)])]
    unchanged = copied.assign(experiment=SHUFFLED, same_as="") if len(scorer.references) > 1 else copied.iloc[:0]
    made = as_frame((name, "", *row) for name, *row in rows)
    alone = [] if len(scorer.references) > 1 else [f"No row '{SHUFFLED}': it needs two references or more."]
    return Controls(pd.concat([made, unchanged], ignore_index=True), [*scorer.notes, *alone])


ScoreRow = tuple[str, int, str, int | None, str, str, float]


def _key(done: Finished) -> tuple[str, int]:
    return done.run.reference, done.run.train_seed


class _Scorer:
    """Scores videos anew, a run and a metric at a time.

    Attributes:
        references: the baseline's first finished run of each reference.
    """

    def __init__(self, results: Results, baseline: str) -> None:
        found = {name: results.first(baseline, name) for name in results.study.references}
        self.references = {name: first for name, first in found.items() if first is not None}
        self._lost: dict[str, str] = {}
        self._measured = results.measured
        self._metrics: dict[tuple[str, str], VideoMetric] = {}

    @property
    def notes(self) -> list[str]:
        """Why something could not be scored, one for each metric."""
        return [f"Control rows of {metric.replace('_', ' ')} are incomplete or missing: {why}." for metric, why in self._lost.items()]

    def attempt(self, score: Callable[..., Iterator[ScoreRow]], done: Finished, what: Any, metric: str) -> list[ScoreRow]:
        """The rows, or none with a note of the reason."""
        try:
            return list(score(done, what, metric))
        except (ValueError, OSError) as error:
            self.lose(metric, error)
            return []

    def lose(self, metric: str, error: Exception) -> None:
        """Notes why a metric has no control rows."""
        self._lost.setdefault(metric, " ".join(str(error).split()))

    def truths(self, runs: list[Finished], noises: list[str]) -> list[tuple[Any, ...]]:
        """The measures against the truth: of every reference against its own, and of every video against the truth of other references."""
        clips = {name: done.reference_clip() for name, done in self.references.items()}
        rows: list[tuple[Any, ...]] = []
        for name, clip in clips.items():
            own = against_truth(clip.frames, clip.caption, clip.truth.get("center"))
            seed = self.references[name].run.train_seed
            rows += [(ITSELF, name, seed, "", None, noise, metric, score) for noise in noises for metric, score in own.items()]
        for done in runs if len(clips) > 1 else []:
            others = [clips[other.run.reference].truth["center"] for other in self._others(done.run.reference, "center", clips)]
            for cell in done.cells:
                frames = done.video(cell)
                found = [against_truth(frames, cell.prompt, center) for center in others if len(center) == len(frames)]
                for metric in found[0] if found else []:
                    score = fmean(each[metric] for each in found)
                    rows.append((SHUFFLED, *_key(done), cell.prompt, cell.seed, cell.noise, metric, score))
        return rows

    def compares(self, metric: str) -> bool:
        """Whether a metric reads the reference."""
        return "reference" in METRICS[metric].reads

    def itself(self, done: Finished, noises: list[str], metric: str) -> Iterator[ScoreRow]:
        """The reference's own score, the same under every initial noise; once per reference, for metrics that read no prompt."""
        if "prompt" in METRICS[metric].reads or self.references[done.run.reference] is not done:
            return

        def compute() -> dict[str, Tensor]:
            frames, _ = done.reference_video()
            return {"scores": torch.tensor([self._score(done, metric, [frames], frames)[0]], dtype=torch.float64)}

        score = float(self._get("itself", done, metric, {}, compute)["scores"])
        yield from ((*_key(done), "", None, noise, metric, score) for noise in noises)

    def shuffled(self, done: Finished, cells: list[Cell], metric: str) -> Iterator[ScoreRow]:
        """The mean score of every video, or of the set, over other references; for metrics that read the reference."""
        if not self.compares(metric):
            return
        others = self._others(done.run.reference)
        for noise in noises_of(cell.noise for cell in cells):
            own = [cell for cell in cells if cell.noise == noise]

            def compute(own: list[Cell] = own) -> dict[str, Tensor]:
                videos = [done.video(cell) for cell in own]
                scores = [self._score(done, metric, videos, other.reference_video()[0]) for other in others]
                return {"scores": torch.tensor([fmean(column) for column in zip(*scores, strict=True)], dtype=torch.float64)}

            recipe = {"others": [other.run.recipe for other in others], "noise": noise}
            found = self._get("shuffled", done, metric, recipe, compute)["scores"].tolist()
            if METRICS[metric].per_sample:
                yield from ((*_key(done), cell.prompt, cell.seed, noise, metric, score) for cell, score in zip(own, found, strict=True))
            else:
                yield (*_key(done), "", None, noise, metric, found[0])

    def _others(self, reference: str, knows: str = "", clips: dict[str, Clip] | None = None) -> list[Finished]:
        """Runs of the references that follow in the study's order, round and round, each at most once; of those that know this truth."""
        names = list(self.references)
        place = names.index(reference)
        following = [name for name in names[place + 1 :] + names[:place] if clips is None or knows in clips[name].truth]
        return [self.references[name] for name in following[:OTHERS]]

    def _get(
        self, kind: str, done: Finished, metric: str, recipe: dict[str, Any], compute: Callable[[], dict[str, Tensor]]
    ) -> dict[str, Tensor]:
        recipe = {"code": code_of("score", METRICS[metric]), "control": kind, "run": done.run.recipe, "metric": metric, **recipe}
        return self._measured.get("controls", recipe, compute)

    def _score(self, done: Finished, metric: str, videos: list[Tensor], reference: Tensor) -> list[float]:
        """The score of every video, or the set's only one, against a reference."""
        built = self._metrics.get((done.run.name, metric))
        if built is None:
            built = self._metrics[done.run.name, metric] = done.metric(metric)
        built.reset()
        clip = Clip(reference, 8.0, "", done.run.reference)
        samples = [Sample(frames, clip, "", 0, "").to(DEVICE) for frames in videos]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # lost tracks: the runs' protocols count them
            scores = built.update_samples(samples)
        return scores if scores is not None else [float(built.compute())]
