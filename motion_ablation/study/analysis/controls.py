"""Control rows: what the metrics say where the right answer is known.

* **reference itself**, the ceiling: the reference's own frames scored as if they had been generated.
* **shuffled reference**, the floor of what reads the reference: the baseline's videos scored against *other* references of the study.
* **parked object**: the object that the prompt asks for, standing still in the middle: what a score of motion gives for none, and one of
  text for all that was asked. For prompts of the built-in world only.

The last control, the backbone without motion, is an ordinary experiment (``no_motion``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from math import isnan, nan
from statistics import fmean
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from motion_ablation.cache.code import code_of
from motion_ablation.data.world.shapes import parked
from motion_ablation.evaluation.evaluator import scores_of
from motion_ablation.metrics import METRICS, VideoMetric
from motion_ablation.metrics.segmentation import appearance_of
from motion_ablation.records import Cell, Clip, Sample
from motion_ablation.study.finished import DEVICE, Finished
from motion_ablation.study.results import Results, as_frame, noises_of, truths_of

ITSELF = "reference itself"
SHUFFLED = "shuffled reference"
PARKED = "parked object"
CONTROLS = (ITSELF, SHUFFLED, PARKED)
OTHERS = 3


@dataclass(frozen=True)
class Controls:
    """The control rows of a study.

    Attributes:
        frame: scores with the columns of :attr:`motion_ablation.study.results.Results.frame`, under the experiments :data:`CONTROLS`.
            notes: why something is missing.
    """

    frame: pd.DataFrame
    notes: list[str]


def controls(results: Results) -> Controls:
    """Scores the videos of the first card's baseline and their references; what was scored before is read from the study's folder.

    Scores with each run's own configuration of a metric. Metrics that read a prompt say nothing of a reference by itself, unless they judge
    it by its truth; those that do not read the reference are not changed by shuffling it and are copied. Of many references each video
    meets the next :data:`OTHERS`.
    """
    study, frame = results.study, results.frame
    baseline = study.cards[0].baseline
    runs = results.of(baseline)
    if not runs:
        return Controls(as_frame([]), [f"No control rows: the baseline `{baseline}` has no result."])
    scorer = _Scorer(results, baseline)
    noises = noises_of(frame["noise"])
    rows: list[tuple[Any, ...]] = []
    metrics = list(dict.fromkeys([*study.metrics, *truths_of(frame)]))
    for metric in metrics:
        for done in runs:
            rows += [(ITSELF, *row) for row in scorer.attempt(scorer.itself, done, noises, metric)]
            rows += [(PARKED, *row) for row in scorer.attempt(scorer.parked, done, noises, metric)]
            if len(scorer.references) > 1:
                rows += [(SHUFFLED, *row) for row in scorer.attempt(scorer.shuffled, done, done.cells, metric)]
    copied = frame[(frame["experiment"] == baseline) & frame["metric"].isin([name for name in metrics if not scorer.compares(name)])]
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
        found = {name: results.first(baseline, name) for name in results.study.judged}
        self.references = {name: first for name, first in found.items() if first is not None}
        self._lost: dict[str, str] = {}
        self._measured = results.measured
        self._metrics: dict[tuple[str, str], VideoMetric] = {}
        self._known: dict[str, Clip] = {}

    @property
    def notes(self) -> list[str]:
        """Why something could not be scored, one for each metric."""
        return [f"Control rows of {metric.replace('_', ' ')} are incomplete or missing: {why}." for metric, why in self._lost.items()]

    def attempt(self, score: Callable[..., Iterator[ScoreRow]], done: Finished, what: Any, metric: str) -> list[ScoreRow]:
        """The rows, or none with a note of the reason."""
        try:
            return list(score(done, what, metric))
        except (ValueError, OSError) as error:
            self._lost.setdefault(metric, " ".join(str(error).split()))
            return []

    def compares(self, metric: str) -> bool:
        """Whether a metric reads the reference, or its truth."""
        return not {"reference", "truth"}.isdisjoint(METRICS[metric].reads)

    def itself(self, done: Finished, noises: list[str], metric: str) -> Iterator[ScoreRow]:
        """The reference's own score, the same under every initial noise; once per reference."""
        if ("prompt" in METRICS[metric].reads and not METRICS[metric].requires_truth) or self.references[done.run.reference] is not done:
            return

        def compute() -> dict[str, Tensor]:
            clip = self._clip(done, metric)
            return {"scores": torch.tensor(self._score(done, metric, clip, [(clip.frames, clip.caption)])[:1], dtype=torch.float64)}

        score = float(self._get("itself", done, metric, {}, compute)["scores"])
        yield from ((*_key(done), "", None, noise, metric, score) for noise in noises if not isnan(score))

    def parked(self, done: Finished, noises: list[str], metric: str) -> Iterator[ScoreRow]:
        """The score of a still object in the look of each prompt, the same under every initial noise; once per reference."""
        prompts = {cell.prompt: look for cell in done.cells if (look := appearance_of(cell.prompt))}
        if self.references[done.run.reference] is not done or not prompts:
            return

        def compute() -> dict[str, Tensor]:
            clip = self._clip(done, metric)
            frames, _, height, width = done.reference_video()[0].shape
            still = [(torch.from_numpy(parked(*look, frames, (height, width))), prompt) for prompt, look in prompts.items()]
            return {"scores": torch.tensor(self._score(done, metric, clip, still), dtype=torch.float64)}

        found = self._get("parked", done, metric, {"prompts": list(prompts)}, compute)["scores"].tolist()
        names: list[tuple[str, int | None]] = [(prompt, 0) for prompt in prompts] if METRICS[metric].per_sample else [("", None)]
        yield from ((*_key(done), *name, noise, metric, score) for noise in noises for name, score in zip(names, found, strict=True))

    def shuffled(self, done: Finished, cells: list[Cell], metric: str) -> Iterator[ScoreRow]:
        """The mean score of every video, or of the set, over other references; for metrics that read the reference or its truth."""
        if not self.compares(metric):
            return
        others = self._others(done.run.reference, metric)
        for noise in noises_of(cell.noise for cell in cells) if others else []:
            own = [cell for cell in cells if cell.noise == noise]

            def compute(own: list[Cell] = own) -> dict[str, Tensor]:
                videos = [(done.video(cell), cell.prompt) for cell in own]
                scores = [self._score(done, metric, self._clip(other, metric), videos) for other in others]
                return {"scores": torch.tensor([_mean(column) for column in zip(*scores, strict=True)], dtype=torch.float64)}

            recipe = {"others": [other.run.recipe for other in others], "noise": noise}
            found = self._get("shuffled", done, metric, recipe, compute)["scores"].tolist()
            if METRICS[metric].per_sample:
                yield from ((*_key(done), cell.prompt, cell.seed, noise, metric, score) for cell, score in zip(own, found, strict=True))
            else:
                yield (*_key(done), "", None, noise, metric, found[0])

    def _others(self, reference: str, metric: str) -> list[Finished]:
        """Runs of the references that follow in the study's order, round and round, each at most once; of those whose truth is known, for
        metrics that read it."""
        names = list(self.references)
        place = names.index(reference)
        following = [self.references[name] for name in names[place + 1 :] + names[:place]]
        if "truth" in METRICS[metric].reads:
            following = [done for done in following if self._clip(done, metric).truth]
        return following[:OTHERS]

    def _clip(self, done: Finished, metric: str) -> Clip:
        """A run's reference: as the run saw it; for a metric that asks for the truth, as it is in its file, with its caption and truth."""
        if not METRICS[metric].requires_truth:
            return Clip(done.reference_video()[0], 8.0, "", done.run.reference)
        if done.run.reference not in self._known:
            self._known[done.run.reference] = done.reference_clip()
        return self._known[done.run.reference]

    def _get(
        self, kind: str, done: Finished, metric: str, recipe: dict[str, Any], compute: Callable[[], dict[str, Tensor]]
    ) -> dict[str, Tensor]:
        recipe = {"code": code_of("score", METRICS[metric]), "control": kind, "run": done.run.recipe, "metric": metric, **recipe}
        return self._measured.get("controls", recipe, compute)

    def _score(self, done: Finished, metric: str, reference: Clip, videos: list[tuple[Tensor, str]]) -> list[float]:
        """The score of every video with its prompt, or the set's only one, against a reference."""
        built = self._metrics.get((done.run.name, metric))
        if built is None:
            built = self._metrics[done.run.name, metric] = done.metric(metric)
        return scores_of(built, [Sample(frames, reference, prompt, 0, "").to(DEVICE) for frames, prompt in videos])


def _mean(scores: Iterable[float]) -> float:
    """The mean of what is not NaN; NaN where all is."""
    known = [score for score in scores if not isnan(score)]
    return fmean(known) if known else nan
