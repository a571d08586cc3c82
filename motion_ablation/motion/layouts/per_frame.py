"""One vector per frame, the same everywhere."""

from __future__ import annotations

from torch import Tensor

from motion_ablation.motion.layouts.base import LAYOUTS, Layout, resample_frames, zeros
from motion_ablation.records import Site


@LAYOUTS.register("per_frame")
class PerFrame(Layout):
    """One vector per frame, ``(1, f, c)``: the paper's Motion Query-Key embedding ("1D")."""

    def __init__(self, site: Site, channels: int) -> None:
        super().__init__(site, channels)
        self.rows = zeros(1, site.frames, channels)

    def forward(self, frames: int, height: int, width: int) -> Tensor:
        return resample_frames(self.rows, frames)
