"""Addition through a gate that sees the feature."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from motion_ablation.motion.integrations.base import INTEGRATIONS, Integration


@INTEGRATIONS.register("gated")
class Gated(Integration):
    """``F + 2 sigmoid(F G + b) * M``: each feature decides how much motion it takes; a new gate lets all of it through once."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        self.gate = nn.Parameter(torch.zeros(channels, channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, features: Tensor, motion: Tensor) -> Tensor:
        kind = features.dtype
        return features + 2 * torch.sigmoid(features @ self.gate.to(kind) + self.bias.to(kind)) * motion
