"""Trainable changes of a temporal attention's weights, one per file: the literature's other way to learn a motion."""

from motion_ablation.motion.adapters.base import ADAPTERS, PROJECTIONS

__all__ = ["ADAPTERS", "PROJECTIONS"]
