"""What an objective is: a loss of the network's output against its target, and what it trains along."""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import AbstractContextManager, nullcontext
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from motion_ablation.registry import Registry

OBJECTIVES: Registry[Any] = Registry("objective", "motion_ablation.objectives")


class Objective(nn.Module, ABC):
    """A training loss.

    Attributes:
        trains_frames: whether single frames are denoised too, through what :meth:`attached` adds, to train that.
    """

    trains_frames: ClassVar[bool] = False

    @abstractmethod
    def forward(self, predicted: Tensor, target: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """The scalar loss of ``(b, c, f, h, w)`` output and target, in float32; ``generator`` draws what the loss draws."""

    def prepare(self, denoiser: nn.Module) -> None:
        """Makes the parameters that the objective trains along, if any, once; called before the optimizer is made."""

    def attached(self, denoiser: nn.Module, learning: bool) -> AbstractContextManager[None]:
        """Those parameters act inside this context, during training only; gradients reach them if ``learning``."""
        return nullcontext()


def mean_squared_error(predicted: Tensor, target: Tensor) -> Tensor:
    """Mean over all elements of the squared difference, in float32."""
    return (predicted.float() - target.float()).square().mean()
