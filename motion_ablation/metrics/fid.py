"""FID: the distance between the sets of generated and of reference frames (Heusel et al. 2017; clean-fid, Parmar et al. 2022)."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from motion_ablation.metrics.base import METRICS
from motion_ablation.metrics.networks.encoders import ImageEncoder
from motion_ablation.metrics.reference_set import read_statistics
from motion_ablation.metrics.set_distance import SetDistance

MOMENTS = ("count", "total", "outer")


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


def frechet_of_few(a: Tensor, b: Tensor) -> float:
    """The same distance by singular values of an ``(n, m)`` matrix, in place of the root of a ``(d, d)`` one (Mathiasen and Hvilshøj 2020).

    With centred features ``A``, ``B`` scaled by their roots of ``n - 1``, the covariances are ``AᵀA`` and ``BᵀB``, and the trace of the
    root of their product is the sum of the singular values of ``ABᵀ``.

    Args:
        a: ``(n, d)``. b: ``(m, d)``. n, m >= 2.

    Raises:
        ValueError: for fewer than two rows.
    """
    if min(len(a), len(b)) < 2:
        raise ValueError(f"a covariance needs at least 2 frames, not {min(len(a), len(b))}")
    a, b = a.double(), b.double()
    roots = [(side - side.mean(0)) / (len(side) - 1) ** 0.5 for side in (a, b)]
    traces = sum(float(root.square().sum()) for root in roots)
    shift = float((a.mean(0) - b.mean(0)).square().sum())
    return shift + traces - 2 * float(torch.linalg.svdvals(roots[0] @ roots[1].T).sum())


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
class FrechetDistance(SetDistance):
    """Fréchet distance between all generated frames and a reference set, from 0 up; lower is better.

    A set-level number: NaN before two frames are there, biased upwards for few frames, and from singular covariances where frames are
    fewer than feature dimensions; ``protocol`` then carries a warning.

    Args:
        features: ``shapes`` or another source of ``ClipEncoder`` (unit vectors), ``inception``, ``inception:PATH``, or an ``ImageEncoder``.
        against: ``reference`` (each distinct reference video counts once), a folder of images and videos, or a statistics file of
            clean-fid (``.npz`` with ``mu`` and ``sigma``; its number of frames is unknown).
    """

    name = "fid"
    range = (0.0, float("inf"))
    unit = "squared feature distance"
    formula = "clean-fid Frechet distance"
    generated_total: Tensor
    generated_outer: Tensor

    def __init__(self, features: str | ImageEncoder = "shapes", against: str | Path = "reference") -> None:
        super().__init__(features, against)
        for moment in MOMENTS:
            self.add_state(f"generated_{moment}", torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")

    @property
    def warning(self) -> str:
        """What is wrong with the latest computed number; empty where nothing is."""
        frames = min((count for name, count in self._sizes.items() if name != "dimension"), default=0)
        dimension = self._sizes.get("dimension", 0)
        return f"{frames} frames < {dimension} feature dimensions: singular covariance, biased distance" if frames < dimension else ""

    def from_features(self, generated: Tensor, reference: Tensor) -> float:
        return frechet_of_few(generated, reference)

    def add_generated(self, features: Tensor) -> None:
        for moment, value in zip(MOMENTS, _moments(features), strict=True):
            held = getattr(self, f"generated_{moment}")
            setattr(self, f"generated_{moment}", held + value.to(held.device))

    def shape_states(self, dimension: int) -> None:
        super().shape_states(dimension)
        if self.generated_total.ndim == 0:
            self.generated_total = self.generated_total.new_zeros(dimension)
            self.generated_outer = self.generated_outer.new_zeros(dimension, dimension)

    def compute(self) -> Tensor:
        """The distance, a float64 scalar."""
        moments = [getattr(self, f"generated_{moment}") for moment in MOMENTS]
        sizes = {"generated_frames": int(moments[0]), "dimension": self._features[0].dimension}
        if self.path is not None and self.path.is_file():
            reference: tuple[Any, ...] = tuple(array.numpy() for array in read_statistics(self.path, ("mu", "sigma"), sizes["dimension"]))
        else:
            rows = self.reference_rows()
            sizes["reference_frames"] = len(rows)
            reference = _statistics(*_moments(rows)) if len(rows) > 1 else ()
        nothing = self.too_few(sizes["generated_frames"], sizes.get("reference_frames", 2))
        if nothing is not None:
            return nothing
        self._sizes = sizes
        return torch.tensor(_distance(_statistics(*moments), (reference[0], reference[1])), dtype=torch.float64)
