"""The paper's debias: differences between frames."""

from __future__ import annotations

import torch
from torch import Tensor

from motion_ablation.motion.debiases.base import DEBIASES, Debias


def frame_difference(motion: Tensor, lag: int) -> Tensor:
    """``M[t] - M[t - lag]`` for ``t >= lag``; the first ``lag`` frames are kept. ``motion`` is ``(n, f, c)``."""
    return torch.cat([motion[:, :lag], motion[:, lag:] - motion[:, :-lag]], dim=1)


@DEBIASES.register("difference")
def difference(lag: int = 1) -> Debias:
    """``M[t] - M[t - lag]``, first frames kept: what does not change over time cancels (the paper: lag 1)."""
    if not isinstance(lag, int) or lag < 1:
        raise ValueError(f"debias 'difference': lag must be a whole number of at least 1, not {lag!r}")
    return lambda motion: frame_difference(motion, lag)
