"""Trainable changes of the frozen weights, one per file: the literature's other way to learn a motion, and what learns the appearance."""

from motion_ablation.motion.adapters.base import ADAPTERS, APPEARANCES, PROJECTIONS, Adapter, Appearance

__all__ = ["ADAPTERS", "APPEARANCES", "PROJECTIONS", "Adapter", "Appearance"]
