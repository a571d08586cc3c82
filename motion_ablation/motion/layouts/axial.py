"""A row part and a column part."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from motion_ablation.motion.layouts.base import LAYOUTS, Layout, resample_frames, zeros
from motion_ablation.records import Site


@LAYOUTS.register("axial")
class Axial(Layout):
    """``M[t, y, x] = R[t, y] + C[t, x]``: space by ``h + w`` vectors per frame instead of ``h * w``."""

    def __init__(self, site: Site, channels: int) -> None:
        super().__init__(site, channels)
        self.rows = zeros(site.height, site.frames, channels)
        self.columns = zeros(site.width, site.frames, channels)

    def forward(self, frames: int, height: int, width: int) -> Tensor:
        rows, columns = (resample_line(resample_frames(part, frames), n) for part, n in ((self.rows, height), (self.columns, width)))
        return (rows[:, None] + columns[None]).flatten(0, 1)


def resample_line(line: Tensor, length: int) -> Tensor:
    """Linear interpolation of ``(n, f, c)`` along its first axis to ``length``; cells are lengths, so ends are not aligned."""
    if len(line) == length:
        return line
    flat = line.flatten(1).T[:, None, :, None]
    shrinks = length < len(line)
    resized = F.interpolate(flat, size=(length, 1), mode="bilinear", align_corners=False, antialias=shrinks)
    return resized[:, 0, :, 0].T.unflatten(1, line.shape[1:])
