"""What a debias operation is: cleaning appearance out of an embedding."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

from motion_ablation.registry import Registry

Debias = Callable[[Tensor], Tensor | None]
"""``(n, f, c)`` dense embedding to one of the same shape, or None to leave the stream out.

An entry is a function that makes one; an attribute ``example`` of it holds options for the contract tests, where an option has no default.
"""

DEBIASES: Registry[Any] = Registry("debias", "motion_ablation.motion.debiases")
