"""Partial inclusion of space: a small grid, up-sampled."""

from __future__ import annotations

from einops import rearrange
from torch import Tensor

from motion_ablation.motion.layouts.base import LAYOUTS, Layout, as_locations, resample_frames, resample_grid, zeros
from motion_ablation.records import Site


@LAYOUTS.register("coarse_grid")
class CoarseGrid(Layout):
    """A ``size x size`` grid of vectors per frame, resampled bilinearly to the site's grid: between 1D and 2D.

    A grid finer than a site's own is cut down to the site's.
    """

    def __init__(self, site: Site, channels: int, size: int = 2) -> None:
        super().__init__(site, channels)
        self.check(size=size)
        self.height, self.width = min(size, site.height), min(size, site.width)
        self.rows = zeros(self.height * self.width, site.frames, channels)

    @classmethod
    def check(cls, size: int = 2) -> None:  # type: ignore[override]
        if not isinstance(size, int) or size < 1:
            raise ValueError(f"layout 'coarse_grid': size must be a whole number of at least 1, not {size!r}")

    def forward(self, frames: int, height: int, width: int) -> Tensor:
        rows = resample_frames(self.rows, frames)
        return as_locations(resample_grid(rearrange(rows, "(h w) f c -> f c h w", h=self.height), height, width))
