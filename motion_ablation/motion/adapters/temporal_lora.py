"""Low-rank adapters on the temporal attentions."""

from __future__ import annotations

from motion_ablation.lora import LowRankLinear
from motion_ablation.motion.adapters.base import ADAPTERS, PROJECTIONS, Adapter


@ADAPTERS.register("temporal_lora")
class TemporalLora(Adapter):
    """LoRA of rank ``rank`` on every projection (MotionDirector's idea, Zhao et al. 2023, with the appearance_debiased objective)."""

    def __init__(self, channels: int, rank: int = 8) -> None:
        super().__init__(channels)
        for name in PROJECTIONS:
            self.layers[name.replace(".", "/")] = LowRankLinear(channels, channels, rank)

    @classmethod
    def check(cls, rank: int = 8) -> None:  # type: ignore[override]
        if not isinstance(rank, int) or rank < 1:
            raise ValueError(f"adapter 'temporal_lora': rank must be a whole number of at least 1, not {rank!r}")
