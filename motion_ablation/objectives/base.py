"""What an objective is: a loss of the network's output against its target."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

from motion_ablation.registry import Registry

Objective = Callable[[Tensor, Tensor], Tensor]
"""``(predicted, target)``, both ``(b, c, f, h, w)``, to a scalar."""

OBJECTIVES: Registry[Any] = Registry("objective", "motion_ablation.objectives")
