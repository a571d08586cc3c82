"""What an objective is: a loss of the network's output against its target."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from motion_ablation.registry import Registry, UnknownName


class Objectives(Registry[Any]):
    """The losses; it knows what became of one that is a combination now."""

    def __getitem__(self, name: str) -> Any:
        if name == "hybrid":
            raise UnknownName("'hybrid' is two axes now: objective: {name: appearance_debiased}, appearance: {name: spatial_lora}")
        return super().__getitem__(name)


OBJECTIVES = Objectives("objective", "motion_ablation.objectives")


class Objective(nn.Module, ABC):
    """A training loss, without parameters.

    Attributes:
        example: options for the contract tests, where an option has no default.
    """

    example: ClassVar[dict[str, Any]] = {}

    @abstractmethod
    def forward(self, predicted: Tensor, target: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """The scalar loss of ``(b, c, f, h, w)`` output and target, in float32; ``generator`` draws what the loss draws."""


def mean_squared_error(predicted: Tensor, target: Tensor) -> Tensor:
    """Mean over all elements of the squared difference, in float32."""
    return (predicted.float() - target.float()).square().mean()
