"""Training losses, one per file."""

from motion_ablation.objectives.base import OBJECTIVES
from motion_ablation.objectives.denoising import denoising

__all__ = ["OBJECTIVES", "denoising"]
