"""Ways to clean an embedding of appearance at inference, one per file."""

from motion_ablation.motion.debiases.base import DEBIASES, Debias
from motion_ablation.motion.debiases.difference import difference
from motion_ablation.motion.debiases.none import none

__all__ = ["DEBIASES", "Debias", "difference", "none"]
