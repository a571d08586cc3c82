"""What a debias operation is: cleaning appearance out of an embedding."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from motion_ablation.registry import Registry

Debias = Callable[[Tensor], Tensor | None]
"""``(n, f, c)`` dense embedding to one of the same shape, or None to leave the stream out.

An entry is a function that makes one; an attribute ``example`` of it holds options for the contract tests, where an option has no default.
"""

DEBIASES: Registry[Any] = Registry("debias", "motion_ablation.motion.debiases")


def erases_constants(debias: Debias) -> bool:
    """Whether it leaves nothing, in the last of many frames, of an embedding that is the same in all of them."""
    left = debias(torch.ones(1, 256, 1))
    return left is not None and not left[:, -1].any()
