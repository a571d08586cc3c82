"""Feature-wise linear modulation."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from motion_ablation.motion.integrations.base import INTEGRATIONS, Integration


@INTEGRATIONS.register("film")
class Film(Integration):
    """``F * (1 + M A) + M B``: motion sets a scale and a shift for every channel (FiLM, Perez et al. 2018).

    ``A`` starts at zero and ``B`` as the identity, so that a new one adds, and the gradient reaches ``M`` from the first step.
    """

    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        self.scale = nn.Parameter(torch.zeros(channels, channels))
        self.shift = nn.Parameter(torch.eye(channels))

    def forward(self, features: Tensor, motion: Tensor) -> Tensor:
        kind = features.dtype
        return features * (1 + motion @ self.scale.to(kind)) + motion @ self.shift.to(kind)
