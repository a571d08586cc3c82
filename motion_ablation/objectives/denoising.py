"""The denoising loss."""

from __future__ import annotations

from torch import Tensor

from motion_ablation.objectives.base import OBJECTIVES, Objective


def mean_squared_error(predicted: Tensor, target: Tensor) -> Tensor:
    """Mean over all elements of the squared difference, in float32."""
    return (predicted.float() - target.float()).square().mean()


@OBJECTIVES.register("denoising")
def denoising() -> Objective:
    """Plain mean squared error in the scheduler's own prediction type (the released code's default)."""
    return mean_squared_error
