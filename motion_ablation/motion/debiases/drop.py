"""Leaving the stream out."""

from __future__ import annotations

from torch import Tensor

from motion_ablation.motion.debiases.base import DEBIASES, Debias


def leave_out(motion: Tensor) -> None:
    """Nothing: the stream is not applied."""


@DEBIASES.register("drop")
def drop() -> Debias:
    """The stream is left out: the features pass as they are (the released code does so to MV for pure camera motion)."""
    return leave_out
