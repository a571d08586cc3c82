"""FID: the distance between the sets of generated and of reference frames (Heusel et al. 2017; clean-fid, Parmar et al. 2022)."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import torch
from torch import Tensor

from motion_ablation.metrics.base import METRICS, VideoMetric, check_frames
from motion_ablation.metrics.features import ImageEncoder, embed_videos, load_features


def frechet_from_features(a: Tensor, b: Tensor) -> float:
    """Fréchet distance between Gaussians fitted to two sets of features, by clean-fid.

    Args:
        a: ``(n, d)``. b: ``(m, d)``. n, m >= 2.

    Returns:
        0 for equal statistics, larger for sets further apart; ``>= 0`` up to rounding.

    Raises:
        ValueError: for fewer than two rows.
    """
    return _distance(_statistics(*_moments(a)), _statistics(*_moments(b)))


def _moments(features: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """n, sum ``(d,)`` and sum of outer products ``(d, d)``, float64: sets are joined by adding these."""
    features = features.double()
    return torch.tensor(float(len(features)), dtype=torch.float64, device=features.device), features.sum(0), features.T @ features


def _statistics(count: Tensor, total: Tensor, outer: Tensor) -> tuple[Any, Any]:
    """Mean and unbiased covariance, as numpy."""
    if count < 2:
        raise ValueError(f"a covariance needs at least 2 frames, not {int(count)}")
    mean = total / count
    covariance = (outer - count * torch.outer(mean, mean)) / (count - 1)
    return mean.cpu().numpy(), covariance.cpu().numpy()


def _distance(a: tuple[Any, Any], b: tuple[Any, Any]) -> float:
    """clean-fid's distance; a singular product whose root comes out complex gets the ridge that clean-fid gives to infinite ones."""
    from cleanfid.fid import frechet_distance

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return float(frechet_distance(*a, *b))
        except ValueError:
            ridge = 1e-6 * np.eye(len(a[0]))
            return float(frechet_distance(a[0], a[1] + ridge, b[0], b[1] + ridge))


@METRICS.register("fid")
class FrechetDistance(VideoMetric):
    """Fréchet distance between all generated and all reference frames, from 0 up; lower is better.

    A set-level number: NaN before two frames are there, biased upwards for few frames, and from singular covariances where frames are
    fewer than feature dimensions; ``protocol`` then carries a warning. A reference counts as often as it is given.

    Args:
        features: ``shapes`` or another source of ``ClipEncoder`` (unit vectors), ``inception``, ``inception:PATH``, or an ``ImageEncoder``.
    """

    name = "fid"
    reads = ("frames", "reference")
    higher_is_better = False
    range = (0.0, float("inf"))
    unit = "squared feature distance"
    per_sample = False

    def __init__(self, features: str | ImageEncoder = "shapes") -> None:
        super().__init__()
        self._features = (load_features(features) if isinstance(features, str) else features,)
        self._sizes: dict[str, int] = {}
        for side in ("generated", "reference"):
            for moment in ("count", "total", "outer"):
                self.add_state(f"{side}_{moment}", torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")

    @property
    def protocol(self) -> dict[str, object]:
        """Network, resize and distance; after ``compute`` also the numbers of frames and dimensions, and a warning where frames are few."""
        (features,) = self._features
        stated: dict[str, object] = {"network": features.name, "resize": features.resize, "formula": "clean-fid Frechet distance"}
        stated.update(self._sizes)
        if self.warning:
            stated["warning"] = self.warning
        return stated

    @property
    def warning(self) -> str:
        """What is wrong with the latest computed number; empty where nothing is."""
        frames = min(self._sizes.get("generated_frames", 0), self._sizes.get("reference_frames", 0))
        dimension = self._sizes.get("dimension", 0)
        return f"{frames} frames < {dimension} feature dimensions: singular covariance, biased distance" if frames < dimension else ""

    def features_of(self, frames: Tensor) -> Tensor:
        """Features of every frame of ``(b, f, 3, h, w)``: ``(b·f, d)``, to pool with other runs' in :func:`frechet_from_features`."""
        return embed_videos(self._features[0], check_frames(frames)).flatten(0, 1)

    def update(self, frames: Tensor, reference: Tensor) -> None:
        """Adds ``(b, f, 3, h, w)`` generated and ``(b', f', 3, h', w')`` reference frames."""
        sides = {"generated": check_frames(frames), "reference": check_frames(reference, "reference")}
        for side, videos in sides.items():
            for moment, value in zip(("count", "total", "outer"), _moments(self.features_of(videos)), strict=True):
                held = getattr(self, f"{side}_{moment}")
                setattr(self, f"{side}_{moment}", held + value.to(held.device))

    def sync(self, *args: Any, **kwargs: Any) -> None:
        """Joins the processes' states; a process that has seen no video first gives its state the shape of the others'."""
        if torch.distributed.is_available() and torch.distributed.is_initialized() and self.generated_total.ndim == 0:
            dimension = self._features[0].dimension
            for side in ("generated", "reference"):
                for moment, shape in (("total", (dimension,)), ("outer", (dimension, dimension))):
                    setattr(self, f"{side}_{moment}", getattr(self, f"{side}_{moment}").new_zeros(shape))
        super().sync(*args, **kwargs)

    def compute(self) -> Tensor:
        """The distance, a float64 scalar."""
        sides = [[getattr(self, f"{side}_{moment}") for moment in ("count", "total", "outer")] for side in ("generated", "reference")]
        if min(float(count) for count, _, _ in sides) < 2:
            warnings.warn("fid needs at least 2 generated and 2 reference frames: NaN", stacklevel=2)
            return torch.tensor(float("nan"), dtype=torch.float64)
        names = ("generated_frames", "reference_frames", "dimension")
        self._sizes = dict(zip(names, (int(sides[0][0]), int(sides[1][0]), len(sides[0][1])), strict=True))
        return torch.tensor(_distance(_statistics(*sides[0]), _statistics(*sides[1])), dtype=torch.float64)
