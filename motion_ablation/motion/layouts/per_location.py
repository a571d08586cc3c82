"""One vector per frame and location."""

from __future__ import annotations

from einops import rearrange
from torch import Tensor

from motion_ablation.motion.layouts.base import LAYOUTS, Layout, as_locations, resample_frames, resample_grid, zeros
from motion_ablation.records import Site


@LAYOUTS.register("per_location")
class PerLocation(Layout):
    """One vector per location and frame, ``(h * w, f, c)``: the paper's Motion Value embedding ("2D")."""

    def __init__(self, site: Site, channels: int) -> None:
        super().__init__(site, channels)
        self.rows = zeros(site.height * site.width, site.frames, channels)

    def forward(self, frames: int, height: int, width: int) -> Tensor:
        rows = resample_frames(self.rows, frames)
        if (height, width) == (self.site.height, self.site.width):
            return rows
        return as_locations(resample_grid(rearrange(rows, "(h w) f c -> f c h w", h=self.site.height), height, width))
