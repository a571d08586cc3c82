"""Training losses, one per file."""

from motion_ablation.objectives.base import OBJECTIVES, Objective

__all__ = ["OBJECTIVES", "Objective"]
