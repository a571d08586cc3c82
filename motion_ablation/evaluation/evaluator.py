"""Scoring samples, whoever asks: a run's validation, videos on disk, a study's control rows, the calibration."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from motion_ablation.cache.addresses import scores_recipe
from motion_ablation.cache.artefacts import Artefacts, Tensors
from motion_ablation.metrics import METRICS, PerSampleMetric, VideoMetric
from motion_ablation.metrics.base import field_of
from motion_ablation.records import Sample

NOTHING_MEASURED = "The ``compute`` method of metric"  # how torchmetrics begins to warn of a metric whose update was never called
STATE = "state."


def scores_of(metric: VideoMetric, samples: Sequence[Sample]) -> list[float]:
    """The score of every sample, or the set's only one; the metric has forgotten them afterwards. Lost tracks are not warned of."""
    metric.reset()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        scores = metric.update_samples(samples)
        found = [float(metric.compute())] if scores is None else scores
    metric.reset()
    return found


class Evaluator:
    """Several metrics over the samples of one set.

    Args:
        options: of each metric, by name. device: where the samples are.
        kept: where the scores of single videos are kept, so that a video is measured once, whoever scores it again; None keeps none.
    """

    def __init__(self, options: Mapping[str, dict[str, Any]], device: torch.device | str = "cpu", kept: Artefacts | None = None) -> None:
        self.options = options
        self.kept = kept
        self.metrics: dict[str, VideoMetric] = {name: METRICS.build(name, **own).to(device) for name, own in options.items()}
        self._scored = False

    def reset(self) -> None:
        """Forgets all samples."""
        self._scored = False
        for metric in self.metrics.values():
            metric.reset()

    def add(self, samples: Sequence[Sample]) -> list[dict[str, float]]:
        """Adds samples to the set; returns the scores of each, by the metrics that score single videos."""
        rows: list[dict[str, float]] = [{} for _ in samples]
        for name in self.metrics:
            for row, score in zip(rows, self.score(name, samples) or [], strict=False):
                row[name] = score
        return rows

    def score(self, name: str, samples: Sequence[Sample]) -> list[float] | None:
        """Adds samples to one metric; returns the score of each (NaN where it has none), or None where only the set has one."""
        self._scored = True
        metric = self.metrics[name]
        if self.kept is None or not isinstance(metric, PerSampleMetric):
            return metric.update_samples(samples)
        return self._kept_scores(name, metric, samples, self.kept)

    def value(self, name: str) -> float:
        """A metric of the whole set, of all processes; NaN where there is none."""
        with warnings.catch_warnings():
            if self._scored:  # perhaps by what was kept
                warnings.filterwarnings("ignore", message=NOTHING_MEASURED)
            return float(self.metrics[name].compute())

    def protocols(self) -> dict[str, dict[str, object]]:
        """How each number was made, by metric."""
        return {name: metric.protocol for name, metric in self.metrics.items()}

    def _kept_scores(self, name: str, metric: PerSampleMetric, samples: Sequence[Sample], kept: Artefacts) -> list[float]:
        """The scores of a batch, measured once for the same videos; the metric's state grows by the same either way."""
        read = {field: [field_of(sample, field) for sample in samples] for field in metric.reads}
        recipe = scores_recipe({"name": name, **self.options[name]}, read)

        def measure() -> Tensors:
            before = metric.sums()
            metric.reset()
            scores = metric.update_samples(samples)
            measured = {f"{STATE}{name}": value for name, value in metric.sums().items()}
            metric.reset()
            metric.merge_state(before)
            return {"scores": torch.tensor(scores, dtype=torch.float64), **measured}

        found = kept.get("scores", recipe, measure)
        metric.merge_state({name: found[f"{STATE}{name}"].to(value) for name, value in metric.sums().items()})
        scores: list[float] = found["scores"].tolist()
        return scores
