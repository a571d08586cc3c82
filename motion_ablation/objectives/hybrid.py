"""The appearance-debiased loss beside a spatial LoRA that takes the reference's appearance upon itself."""

from __future__ import annotations

import math
import re
from contextlib import AbstractContextManager

from torch import nn

from motion_ablation.lora import LowRankLinear, added
from motion_ablation.objectives.appearance_debiased import AppearanceDebiased
from motion_ablation.objectives.base import OBJECTIVES

SPATIAL = re.compile(r"(^|\.)attentions\..*\.attn[12]\.to_(q|k|v|out\.0)$")


@OBJECTIVES.register("hybrid")
class Hybrid(AppearanceDebiased):
    """``appearance_debiased`` plus a LoRA of rank ``rank`` on the spatial attentions, trained on single frames, gone at inference.

    The setting of the paper's results (by its authors; MotionDirector's two paths): the LoRA learns what the frames look like, so
    that the motion embedding, which is trained on top of it, need not. The LoRA itself learns from the single frames alone.
    """

    trains_frames = True

    def __init__(self, alpha: float = math.sqrt(2), weight: float = 1.0, rank: int = 8) -> None:
        super().__init__(alpha, weight)
        if not isinstance(rank, int) or rank < 1:
            raise ValueError(f"objective 'hybrid': rank must be a whole number of at least 1, not {rank!r}")
        self.rank = rank
        self.spatial = nn.ModuleDict()

    def prepare(self, denoiser: nn.Module) -> None:
        if self.spatial:
            return
        for name, layer in denoiser.named_modules():
            if SPATIAL.search(name) and isinstance(layer, nn.Linear):
                addition = LowRankLinear(layer.in_features, layer.out_features, self.rank)
                self.spatial[name.replace(".", "/")] = addition.to(layer.weight.device)
        if not self.spatial:
            raise ValueError("objective 'hybrid' finds no spatial attention in this backbone to adapt")

    def attached(self, denoiser: nn.Module, learning: bool) -> AbstractContextManager[None]:
        pairs = [(denoiser.get_submodule(name.replace("/", ".")), addition) for name, addition in self.spatial.items()]
        return added(pairs, learning)
