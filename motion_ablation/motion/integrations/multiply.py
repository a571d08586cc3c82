"""Multiplicative integration."""

from __future__ import annotations

from torch import Tensor

from motion_ablation.motion.integrations.base import INTEGRATIONS, Integration


@INTEGRATIONS.register("multiply")
class Multiply(Integration):
    """``F * (1 + M)``: motion rescales each feature."""

    def forward(self, features: Tensor, motion: Tensor) -> Tensor:
        return features * (1 + motion)
