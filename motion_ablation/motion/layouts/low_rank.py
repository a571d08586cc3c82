"""A few spatial maps, each with a vector per frame."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from motion_ablation.motion.layouts.base import LAYOUTS, Layout, resample_frames, resample_grid, zeros
from motion_ablation.records import Site


@LAYOUTS.register("low_rank")
class LowRank(Layout):
    """``M[t, p] = sum_r A[r, p] B[r, t]``: a per-location embedding of rank ``rank``, both factors learnt.

    ``A`` starts as the smoothest cosine maps (the first is constant, which is ``per_frame``) and ``B`` at zero: the product is zero,
    and the gradient reaches ``B`` at once and ``A`` from the second step. A rank above the number of locations is cut down to it.
    """

    def __init__(self, site: Site, channels: int, rank: int = 4) -> None:
        super().__init__(site, channels)
        self.check(rank=rank)
        self.maps = nn.Parameter(cosine_maps(min(rank, site.height * site.width), site.height, site.width))
        self.vectors = zeros(len(self.maps), site.frames, channels)

    @classmethod
    def check(cls, rank: int = 4) -> None:  # type: ignore[override]
        if not isinstance(rank, int) or rank < 1:
            raise ValueError(f"layout 'low_rank': rank must be a whole number of at least 1, not {rank!r}")

    def forward(self, frames: int, height: int, width: int) -> Tensor:
        maps = resample_grid(self.maps[None], height, width)[0].flatten(1)
        return torch.einsum("rp,rfc->pfc", maps, resample_frames(self.vectors, frames))


def cosine_maps(count: int, height: int, width: int) -> Tensor:
    """The ``count`` lowest modes of the two-dimensional cosine transform, ``(count, h, w)``, lowest first."""
    waves = sorted(((i, j) for i in range(height) for j in range(width)), key=lambda wave: (sum(wave), wave))[:count]
    y, x = ((torch.arange(n) + 0.5) * math.pi / n for n in (height, width))
    return torch.stack([torch.cos(i * y)[:, None] * torch.cos(j * x)[None] for i, j in waves])
