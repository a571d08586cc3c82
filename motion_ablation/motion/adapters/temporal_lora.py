"""Low-rank adapters on the temporal attentions."""

from __future__ import annotations

from contextlib import AbstractContextManager

from torch import nn

from motion_ablation.motion.adapters.base import ADAPTERS, PROJECTIONS, Adapter, check_rate
from motion_ablation.motion.adapters.lora import adapted, check_rank, low_rank


@ADAPTERS.register("temporal_lora")
class TemporalLora(Adapter):
    """LoRA of rank ``rank`` on every projection (MotionDirector's idea, Zhao et al. 2023, with the appearance_debiased objective)."""

    def __init__(self, channels: int, rank: int = 8, lr: float | None = None) -> None:
        super().__init__(channels, lr)
        self.layers = low_rank(dict.fromkeys(PROJECTIONS, (channels, channels)), rank)

    @classmethod
    def check(cls, rank: int = 8, lr: float | None = None) -> None:  # type: ignore[override]
        check_rank(rank, "adapter 'temporal_lora'")
        check_rate(lr, "adapter 'temporal_lora'")

    def attached(self, attention: nn.Module) -> AbstractContextManager[None]:
        return adapted(attention, self.layers)
