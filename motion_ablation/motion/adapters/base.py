"""What an adapter is: a trainable change of the projections of one temporal attention, which starts at nothing."""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import AbstractContextManager
from typing import Any

from torch import nn

from motion_ablation.registry import Registry

ADAPTERS: Registry[Any] = Registry("adapter", "motion_ablation.motion.adapters", given=("channels",))
PROJECTIONS = ("to_q", "to_k", "to_v", "to_out.0")


class Adapter(nn.Module, ABC):
    """A change of the four projections of an attention of this width."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = channels

    @classmethod
    def check(cls, **options: Any) -> None:
        """Raises ``ValueError`` for options that cannot work, before any weight is loaded."""

    @abstractmethod
    def attached(self, attention: nn.Module) -> AbstractContextManager[None]:
        """The change acts on ``attention`` inside this context, and is gone after it, bit for bit."""
