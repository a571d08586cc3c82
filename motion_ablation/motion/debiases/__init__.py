"""Ways to clean an embedding of appearance, one per file."""

from motion_ablation.motion.debiases.base import DEBIASES, Debias

__all__ = ["DEBIASES", "Debias"]
