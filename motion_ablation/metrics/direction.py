"""Direction: whether the object moves the way that the reference's truth does, from frame to frame."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from motion_ablation.metrics.base import METRICS
from motion_ablation.metrics.truth_metric import PathMetric


def direction(centers: Tensor, visible: Tensor, truth: Tensor) -> Tensor:
    """Mean cosine of the displacements between frames with the true ones, where these are not 0 and both ends are visible.

    Args:
        centers: ``(f, 2)`` x and y in ``[-1, 1]``, as of ``segmentation.object_centers``. visible: ``(f,)`` bool. truth: ``(f, 2)``.

    Returns:
        A scalar in ``[-1, 1]``; 0 where no displacement can be compared.
    """
    moved, should = centers.diff(dim=0), truth.diff(dim=0)
    both = visible[1:] & visible[:-1] & (should.norm(dim=1) > 1e-3)
    cosine = F.cosine_similarity(moved, should, dim=1)
    return cosine[both].mean() if both.any() else cosine.new_zeros(())


@METRICS.register("direction")
class Direction(PathMetric):
    """Mean cosine of the object's displacements, found by its colour, with the reference's true ones, in [-1, 1]; higher is better.

    For built-in prompts and references only, else NaN.
    """

    name = "direction"
    higher_is_better = True
    range = (-1.0, 1.0)
    unit = "cosine"
    formula = "mean cosine of the displacements of the object, found by its colour, with the reference's true ones"

    def compare(self, centers: Tensor, visible: Tensor, truth: Tensor) -> Tensor:
        return direction(centers, visible, truth)
