"""Channel concatenation, projected back."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from motion_ablation.motion.integrations.base import INTEGRATIONS, Integration


@INTEGRATIONS.register("concat_channel")
class ConcatChannel(Integration):
    """``[F; M] W`` with ``W`` learnt: the two are joined along channels and projected back to the features' width.

    ``W = [[I + A], [B]]`` is kept as its two halves, so that the start is the identity to the bit: ``A`` is zero and
    ``M`` is zero. ``B`` starts as the identity, which lets the gradient reach ``M`` from the first step; were both
    ``M`` and ``B`` zero, neither would ever learn.
    """

    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        self.features = nn.Parameter(torch.zeros(channels, channels))
        self.motion = nn.Parameter(torch.eye(channels))

    def forward(self, features: Tensor, motion: Tensor) -> Tensor:
        kind = features.dtype
        return features + features @ self.features.to(kind) + motion @ self.motion.to(kind)
