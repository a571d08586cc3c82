"""Trajectory error: how far the object is from where the reference's truth has it."""

from __future__ import annotations

import torch
from torch import Tensor

from motion_ablation.metrics.base import METRICS
from motion_ablation.metrics.truth_metric import PathMetric


def trajectory_error(centers: Tensor, visible: Tensor, truth: Tensor) -> Tensor:
    """Mean distance over frames; a frame without the object counts 1.

    Args:
        centers: ``(f, 2)`` x and y in ``[-1, 1]``, as of ``segmentation.object_centers``. visible: ``(f,)`` bool. truth: ``(f, 2)``.

    Returns:
        A scalar, 0 or more; the frame is 2 wide.
    """
    return torch.where(visible, (centers - truth).norm(dim=1), torch.ones_like(truth[:, 0])).mean()


@METRICS.register("trajectory_error")
class TrajectoryError(PathMetric):
    """Mean distance of the object, found by its colour, from the reference's true path; the frame is 2 wide; lower is better.

    For built-in prompts and references only, else NaN.
    """

    name = "trajectory_error"
    higher_is_better = False
    range = (0.0, 8**0.5)
    unit = "half-frames"
    formula = "mean over frames of the distance of the object, found by its colour, from the reference's true centre; 1 where it is gone"

    def compare(self, centers: Tensor, visible: Tensor, truth: Tensor) -> Tensor:
        return trajectory_error(centers, visible, truth)
