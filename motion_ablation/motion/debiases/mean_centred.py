"""Removing the mean over frames."""

from __future__ import annotations

from torch import Tensor

from motion_ablation.motion.debiases.base import DEBIASES, Debias


def subtract_mean(motion: Tensor) -> Tensor:
    """``(n, f, c)`` less its mean over frames; a single frame becomes zero."""
    return motion - motion.mean(1, keepdim=True)


@DEBIASES.register("mean_centred")
def mean_centred() -> Debias:
    """``M[t] - mean over frames of M``: what does not change over time is removed, in the first frame too ("normalise")."""
    return subtract_mean
