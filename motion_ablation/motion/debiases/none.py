"""No debias."""

from __future__ import annotations

from torch import Tensor

from motion_ablation.motion.debiases.base import DEBIASES, Debias


def keep(motion: Tensor) -> Tensor:
    """Its argument."""
    return motion


@DEBIASES.register("none")
def none() -> Debias:
    """The embedding as it was trained ("vanilla")."""
    return keep
