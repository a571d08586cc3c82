"""The denoising loss."""

from __future__ import annotations

import torch
from torch import Tensor

from motion_ablation.objectives.base import OBJECTIVES, Objective, mean_squared_error


@OBJECTIVES.register("denoising")
class Denoising(Objective):
    """Plain mean squared error in the backbone's own prediction type (the released code's default)."""

    def forward(self, predicted: Tensor, target: Tensor, generator: torch.Generator | None = None) -> Tensor:
        return mean_squared_error(predicted, target)
