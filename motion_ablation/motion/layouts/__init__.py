"""Shapes of a motion embedding, one per file."""

from motion_ablation.motion.layouts.base import LAYOUTS, Layout

__all__ = ["LAYOUTS", "Layout"]
