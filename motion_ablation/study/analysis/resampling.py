"""How a metric of whole sets would vary with other videos: the bootstrap over a run's videos, from their features."""

from __future__ import annotations

from math import isfinite
from typing import Any

import numpy as np
import torch
from torch import Tensor

from motion_ablation.cache.code import code_of
from motion_ablation.metrics import METRICS
from motion_ablation.study.analysis.intervals import Group, joined
from motion_ablation.study.finished import DEVICE, Finished, NotThere
from motion_ablation.study.results import Results

DRAWS = 400
SEED = 0

Resampled = tuple[list[tuple[str, int]], Tensor]  # cells by prompt and seed, and the score of each draw


def resampled_scores(metric: Any, videos: list[Tensor], reference: Tensor, draws: np.ndarray) -> Tensor:
    """A set's score on videos drawn with replacement.

    Args:
        metric: with ``features_of(frames (b, f, 3, h, w)) -> (b·f, d)`` and ``from_features(generated (n, d), reference (m, d)) -> float``.
            One that does not read the reference has a set of its own to compare with, whose features ``reference_rows()`` gives.
        videos: ``m`` times ``(f, 3, h, w)``. reference: ``(f, 3, h, w)``. draws: ``(k, m)`` indices of videos.

    Returns:
        ``(k,)`` float64.
    """
    features = [metric.features_of(frames[None]) for frames in videos]
    own = metric.features_of(reference[None]) if "reference" in metric.reads else metric.reference_rows()
    scores = [metric.from_features(torch.cat([features[index] for index in draw]), own) for draw in draws]
    return torch.tensor(scores, dtype=torch.float64)


def draws_of(videos: int) -> np.ndarray:
    """Indices of videos drawn with replacement, ``(DRAWS, videos)``; the same for every experiment, so that differences are paired."""
    return np.random.default_rng(SEED).integers(0, videos, (DRAWS, videos))


class Resampler:
    """Resampled scores of a study's runs, each computed once and found again in the study's folder."""

    def __init__(self, results: Results) -> None:
        self.results = results
        self._notes: dict[str, str] = {}

    @property
    def notes(self) -> list[str]:
        """Why something could not be resampled, one for each metric."""
        return list(self._notes.values())

    def group(
        self, cluster: Group, mine: tuple[str, str], theirs: tuple[str, str], reference: str, trainings: set[int], metric: str
    ) -> Group:
        """The cluster with the variance that its difference has over draws of videos; unchanged where that cannot be computed.

        The bootstrap's variance is that of a mean of ``m`` videos, too small by ``(m - 1) / m``, which is made up for. The same videos
        are drawn for every training.

        Args:
            mine, theirs: an experiment and its initial noise each. trainings: seeds of the trainings that were compared.
        """
        try:
            ours, others = (self._mean_scores(name, reference, trainings, noise, metric) for name, noise in (mine, theirs))
        except (NotThere, OSError, ValueError) as error:
            self._notes.setdefault(metric, f"{metric}: its videos were not resampled, the spread over references stands alone: {error}.")
            return cluster
        if ours is None or others is None or ours[0] != others[0]:
            return cluster
        count = len(ours[0])
        variance = float((ours[1] - others[1]).var(correction=1)) * count / (count - 1)
        return joined(cluster, variance, count - 1.0) if isfinite(variance) else cluster

    def _mean_scores(self, experiment: str, reference: str, trainings: set[int], noise: str, metric: str) -> Resampled | None:
        """The resampled scores of an experiment on a reference, averaged over its trainings."""
        own = [each for each in self.results.of(experiment) if each.run.reference == reference]
        chosen = [each for each in own if each.run.train_seed in trainings] or own  # what trains nothing has one run, of any seed
        found = [self._scores(each, noise, metric) for each in chosen]
        scored = [part for part in found if part is not None]
        if not scored or len(scored) < len(found) or any(keys != scored[0][0] for keys, _ in scored):
            return None
        return scored[0][0], torch.stack([scores for _, scores in scored]).mean(0)

    def _scores(self, finished: Finished, noise: str, metric: str) -> Resampled | None:
        """A run's resampled scores; None where there is one video or none, or where the metric has no features."""
        cells = {(cell.prompt, cell.seed): cell for cell in finished.cells if cell.noise == noise}
        keys = sorted(cells)
        if len(keys) < 2 or not (hasattr(METRICS[metric], "features_of") and hasattr(METRICS[metric], "from_features")):
            return None

        def compute() -> dict[str, Tensor]:
            videos = [finished.video(cells[key]).to(DEVICE) for key in keys]
            reference, _ = finished.reference_video()
            return {"scores": resampled_scores(finished.metric(metric), videos, reference.to(DEVICE), draws_of(len(keys)))}

        recipe = {
            "code": code_of("score", METRICS[metric]),
            "run": finished.run.recipe,
            "noise": noise,
            "metric": metric,
            "draws": DRAWS,
            "seed": SEED,
        }
        return keys, self.results.measured.get("resampled", recipe, compute)["scores"]
