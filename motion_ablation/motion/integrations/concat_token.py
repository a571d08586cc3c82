"""Motion tokens beside the frame tokens."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from motion_ablation.motion.integrations.base import INTEGRATIONS, Integration


@INTEGRATIONS.register("concat_token")
class ConcatToken(Integration):
    """``[F, F + M]`` along time: each frame attends to the frames and, beside them, to as many motion tokens.

    Only for keys and values, and for both of them. With ``M = 0`` every token is there twice, which leaves the softmax average
    as it was (to rounding); tokens of ``M`` alone would take attention from the frames even when they are zero.
    """

    ports: ClassVar[tuple[str, ...]] = ("k", "v")
    lengthens = True

    def forward(self, features: Tensor, motion: Tensor) -> Tensor:
        return torch.cat([features, features + motion], dim=-2)
