"""One vector per location, the same in all frames."""

from __future__ import annotations

from typing import ClassVar

from einops import rearrange
from torch import Tensor

from motion_ablation.motion.layouts.base import LAYOUTS, Layout, as_locations, resample_grid, zeros
from motion_ablation.records import Site


@LAYOUTS.register("per_place")
class PerPlace(Layout):
    """One vector per location for all frames, ``(h * w, 1, c)``: space without time, as ports to transformers have in their values."""

    moves: ClassVar[bool] = False

    def __init__(self, site: Site, channels: int) -> None:
        super().__init__(site, channels)
        self.rows = zeros(site.height * site.width, 1, channels)

    def forward(self, frames: int, height: int, width: int) -> Tensor:
        rows: Tensor = self.rows
        if (height, width) != (self.site.height, self.site.width):
            rows = as_locations(resample_grid(rearrange(rows, "(h w) f c -> f c h w", h=self.site.height), height, width))
        return rows.expand(-1, frames, -1)
