"""The direction of change between frames."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from motion_ablation.objectives.base import OBJECTIVES, Objective


@OBJECTIVES.register("motion_distillation")
class MotionDistillation(Objective):
    """``1 - cos`` between the predicted and the true change from each frame to the next, averaged (VMC, Jeong et al. 2023).

    In ``[0, 2]``; needs two frames. What does not change from frame to frame is invisible to it, and so is the size of a change.

    Args:
        absolute: take the changes' absolute values first, as the released code does; a motion and its reverse then cost the same.
    """

    def __init__(self, absolute: bool = False) -> None:
        super().__init__()
        self.absolute = absolute

    def forward(self, predicted: Tensor, target: Tensor, generator: torch.Generator | None = None) -> Tensor:
        if target.shape[2] < 2:
            raise ValueError("objective 'motion_distillation' compares frames with the next: the clip must have at least 2")
        ours, theirs = (video.float().diff(dim=2).transpose(1, 2).flatten(2) for video in (predicted, target))
        if self.absolute:
            ours, theirs = ours.abs(), theirs.abs()
        return 1 - F.cosine_similarity(ours, theirs, dim=-1).mean()
