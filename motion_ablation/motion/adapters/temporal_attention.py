"""Fine-tuning of the temporal attentions themselves."""

from __future__ import annotations

from torch import nn

from motion_ablation.motion.adapters.base import ADAPTERS, PROJECTIONS, Adapter


@ADAPTERS.register("temporal_attention")
class TemporalAttention(Adapter):
    """A full change of every projection, ``(W + D) x`` with ``D`` from zero (VMC's idea, Jeong et al. 2023, with motion_distillation)."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        for name in PROJECTIONS:
            layer = nn.Linear(channels, channels, bias=False)
            nn.init.zeros_(layer.weight)
            self.layers[name.replace(".", "/")] = layer
