"""Shapes of a motion embedding, one per file."""

from motion_ablation.motion.layouts.base import LAYOUTS, Layout
from motion_ablation.motion.layouts.coarse_grid import CoarseGrid
from motion_ablation.motion.layouts.per_frame import PerFrame
from motion_ablation.motion.layouts.per_location import PerLocation

__all__ = ["LAYOUTS", "CoarseGrid", "Layout", "PerFrame", "PerLocation"]
