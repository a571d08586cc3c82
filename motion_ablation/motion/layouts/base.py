"""What a layout is: the shape of a motion embedding, and how it follows other clip sizes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from motion_ablation.records import Site
from motion_ablation.registry import Registry

LAYOUTS: Registry[Any] = Registry("layout", "motion_ablation.motion.layouts", given=("site", "channels"))


class Layout(nn.Module, ABC):
    """Trainable rows of one site that spell out to a dense embedding for any clip length and grid.

    Args:
        site: where the embedding lives; its frames, height and width are those of training.
        channels: width of the embedding.

    Attributes:
        moves: whether it can differ from frame to frame. group: whose learning rate the parameters have.
        example: options for the contract tests, where an option has no default.
    """

    moves: ClassVar[bool] = True
    group: ClassVar[str] = "embedding"
    example: ClassVar[dict[str, Any]] = {}

    def __init__(self, site: Site, channels: int) -> None:
        super().__init__()
        self.site, self.channels = site, channels

    @abstractmethod
    def forward(self, frames: int, height: int, width: int) -> Tensor:
        """The dense embedding: ``(1, f, c)``, or ``(h * w, f, c)`` with locations in row-major order."""

    @classmethod
    def check(cls, **options: Any) -> None:
        """Raises ``ValueError`` for options that cannot work, before any weight is loaded."""


def resample_frames(rows: Tensor, frames: int) -> Tensor:
    """Linear interpolation of ``(n, f, c)`` along time to ``frames`` rows, end points kept."""
    if rows.shape[1] == frames:
        return rows
    return F.interpolate(rows.transpose(1, 2), size=frames, mode="linear", align_corners=True).transpose(1, 2)


def resample_grid(grid: Tensor, height: int, width: int) -> Tensor:
    """Bilinear interpolation of ``(f, c, h, w)`` in space; cells are areas, so corners are not aligned."""
    if grid.shape[-2:] == (height, width):
        return grid
    shrinks = height < grid.shape[-2] or width < grid.shape[-1]
    return F.interpolate(grid, size=(height, width), mode="bilinear", align_corners=False, antialias=shrinks)


def as_locations(grid: Tensor) -> Tensor:
    """``(f, c, h, w)`` to ``(h * w, f, c)``."""
    return grid.flatten(2).permute(2, 0, 1)


def zeros(*shape: int) -> nn.Parameter:
    """A parameter that starts at zero, so that at step 0 the model is the backbone."""
    return nn.Parameter(torch.zeros(*shape))
