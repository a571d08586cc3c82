"""Shapes of a motion embedding, one per file."""

from motion_ablation.motion.layouts.axial import Axial
from motion_ablation.motion.layouts.base import LAYOUTS, Layout
from motion_ablation.motion.layouts.coarse_grid import CoarseGrid
from motion_ablation.motion.layouts.low_rank import LowRank
from motion_ablation.motion.layouts.per_frame import PerFrame
from motion_ablation.motion.layouts.per_location import PerLocation

__all__ = ["LAYOUTS", "Axial", "CoarseGrid", "Layout", "LowRank", "PerFrame", "PerLocation"]
