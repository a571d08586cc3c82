"""The appearance-debiased loss."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from motion_ablation.objectives.base import OBJECTIVES, Objective, mean_squared_error


@OBJECTIVES.register("appearance_debiased")
class AppearanceDebiased(Objective):
    """Denoising plus the error of ``alpha x - x[anchor]`` for a random anchor frame (MotionDirector, Zhao et al. 2023).

    What all frames share counts less in the second term, so that motion is learnt before appearance. With ``alpha`` the root of two
    (the default) the debiased target of independent noise has variance 3, that of what frames share ``(sqrt(2) - 1)^2``.
    """

    def __init__(self, alpha: float = math.sqrt(2), weight: float = 1.0) -> None:
        super().__init__()
        if alpha <= 0 or weight < 0:
            raise ValueError(f"objective '{type(self).__name__}': alpha must be positive and weight at least 0, not {alpha} and {weight}")
        self.alpha, self.weight = alpha, weight

    def forward(self, predicted: Tensor, target: Tensor, generator: torch.Generator | None = None) -> Tensor:
        anchor = int(torch.randint(target.shape[2], (1,), generator=generator))
        debiased = (self.alpha * video - video[:, :, anchor : anchor + 1] for video in (predicted, target))
        return mean_squared_error(predicted, target) + self.weight * mean_squared_error(*debiased)
