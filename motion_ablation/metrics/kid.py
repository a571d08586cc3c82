"""KID: the squared maximum mean discrepancy of generated and reference frames, unbiased at any number (Bińkowski et al. 2018)."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor
from torchmetrics.utilities import dim_zero_cat

from motion_ablation.metrics.base import METRICS
from motion_ablation.metrics.networks.encoders import ImageEncoder
from motion_ablation.metrics.reference_set import read_statistics
from motion_ablation.metrics.set_distance import SetDistance


def kernel_distance(a: Tensor, b: Tensor, rows: int = 1024) -> float:
    """Unbiased estimate of MMD² between two sets of features under the cubic kernel ``(x·y / d + 1)³``.

    All pairs are used. The usual code averages the same estimate over 100 random subsets of 1,000 rows: the same expectation, a larger
    variance, and a draw to seed. The kernel is summed in blocks instead, so that memory stays bounded.

    Args:
        a: ``(n, d)``. b: ``(m, d)``. n, m >= 2. rows: of the kernel matrix held at once.

    Returns:
        About 0 for sets of one distribution, so that it may fall below 0; larger for sets further apart.

    Raises:
        ValueError: for fewer than two rows.
    """
    if min(len(a), len(b)) < 2:
        raise ValueError(f"the kernel distance needs at least 2 frames, not {min(len(a), len(b))}")
    a, b = a.double(), b.double().to(a.device)
    return _within(a, rows) + _within(b, rows) - 2 * _sum(a, b, rows) / (len(a) * len(b))


def _within(x: Tensor, rows: int) -> float:
    """Mean kernel over the ordered pairs of different rows."""
    diagonal = float((x.square().sum(1) / x.shape[1] + 1).pow(3).sum())
    return (_sum(x, x, rows) - diagonal) / (len(x) * (len(x) - 1))


def _sum(x: Tensor, y: Tensor, rows: int) -> float:
    return sum(float((part @ y.T / x.shape[1] + 1).pow(3).sum()) for part in x.split(rows))


@METRICS.register("kid")
class KernelDistance(SetDistance):
    """Unbiased squared kernel distance between all generated frames and a reference set; about 0 for the same set, lower is better.

    A set-level number, not multiplied by any factor: NaN before two frames are there, slightly negative where the sets are alike. It is
    unbiased for independent frames; frames of one video are not, so compare rows with as many videos of as many frames.

    Args:
        features: ``shapes`` or another source of ``ClipEncoder`` (unit vectors), ``inception``, ``inception:PATH``, or an ``ImageEncoder``.
        against: ``reference`` (each distinct reference video counts once), a folder of images and videos, or a statistics file of
            clean-fid for KID (``.npz`` with ``feats``; one with ``mu`` and ``sigma`` serves ``fid`` only).
    """

    name = "kid"
    range = (float("-inf"), float("inf"))
    unit = "squared kernel distance"
    formula = "unbiased MMD^2 over all pairs of frames, kernel (x.y / d + 1)^3"
    generated: list[Tensor] | Tensor

    def __init__(self, features: str | ImageEncoder = "shapes", against: str | Path = "reference") -> None:
        super().__init__(features, against)
        self.add_state("generated", [], dist_reduce_fx="cat")

    def from_features(self, generated: Tensor, reference: Tensor) -> float:
        return kernel_distance(generated, reference)

    def add_generated(self, features: Tensor) -> None:
        assert isinstance(self.generated, list)
        self.generated.append(features.to(self.device))

    def compute(self) -> Tensor:
        """The distance, a float64 scalar."""
        dimension = self._features[0].dimension
        generated = dim_zero_cat(self.generated) if len(self.generated) else torch.zeros(0, dimension)
        if self.path is not None and self.path.is_file():
            (rows,) = read_statistics(self.path, ("feats",), dimension)
        else:
            rows = self.reference_rows()
        nothing = self.too_few(len(generated), len(rows))
        if nothing is not None:
            return nothing
        self._sizes = {"generated_frames": len(generated), "reference_frames": len(rows), "dimension": dimension}
        return torch.tensor(kernel_distance(generated, rows), dtype=torch.float64)
