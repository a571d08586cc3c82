"""Ways to clean an embedding of appearance, one per file."""

from motion_ablation.motion.debiases.base import DEBIASES, Debias
from motion_ablation.motion.debiases.difference import difference
from motion_ablation.motion.debiases.drop import drop
from motion_ablation.motion.debiases.mean_centred import mean_centred
from motion_ablation.motion.debiases.none import none

__all__ = ["DEBIASES", "Debias", "difference", "drop", "mean_centred", "none"]
