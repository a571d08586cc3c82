"""Direct addition."""

from __future__ import annotations

from torch import Tensor

from motion_ablation.motion.integrations.base import INTEGRATIONS, Integration


@INTEGRATIONS.register("add")
class Add(Integration):
    """``F + M``: the paper's choice."""

    def forward(self, features: Tensor, motion: Tensor) -> Tensor:
        return features + motion
