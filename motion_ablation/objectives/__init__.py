"""Training losses, one per file."""

from motion_ablation.objectives.appearance_debiased import AppearanceDebiased
from motion_ablation.objectives.base import OBJECTIVES, Objective
from motion_ablation.objectives.denoising import Denoising
from motion_ablation.objectives.motion_distillation import MotionDistillation

__all__ = ["OBJECTIVES", "AppearanceDebiased", "Denoising", "MotionDistillation", "Objective"]
