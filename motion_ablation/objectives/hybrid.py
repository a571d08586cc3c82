"""The appearance-debiased loss beside a spatial LoRA that takes the reference's appearance upon itself."""

from __future__ import annotations

import math
import re
from contextlib import AbstractContextManager

from torch import nn

from motion_ablation.lora import adapted, check_rank, low_rank
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
        check_rank(rank, "objective 'hybrid'")
        self.rank = rank
        self.spatial = nn.ModuleDict()

    def prepare(self, denoiser: nn.Module) -> None:
        if self.spatial:
            return
        chosen = {n: m for n, m in denoiser.named_modules() if SPATIAL.search(n) and isinstance(m, nn.Linear)}
        if not chosen:
            raise ValueError("objective 'hybrid' finds no spatial attention in this backbone to adapt")
        widths = {name: (layer.in_features, layer.out_features) for name, layer in chosen.items()}
        self.spatial = low_rank(widths, self.rank).to(next(iter(chosen.values())).weight.device)

    def attached(self, denoiser: nn.Module, learning: bool) -> AbstractContextManager[None]:
        return adapted(denoiser, self.spatial, learning)
