"""Trainable changes of the frozen weights: of one temporal attention for the motion, of the spatial layers for the appearance."""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import AbstractContextManager
from typing import Any, ClassVar

from torch import nn

from motion_ablation.registry import Registry

ADAPTERS: Registry[Any] = Registry("adapter", "motion_ablation.motion.adapters", given=("channels",))
APPEARANCES: Registry[Any] = Registry("appearance", "motion_ablation.motion.adapters", given=("denoiser", "temporal"))
PROJECTIONS = ("to_q", "to_k", "to_v", "to_out.0")


def check_rate(lr: object, where: str) -> None:
    """Raises ``ValueError`` for a learning rate that is neither None nor a positive number."""
    if lr is not None and not (isinstance(lr, int | float) and lr > 0):
        raise ValueError(f"{where}: lr must be a positive number, or null for model.optimizer's rate, not {lr!r}")


class Adapter(nn.Module, ABC):
    """A change of the four projections of an attention of this width, which starts at nothing.

    Args:
        channels: width of the attention. lr: learning rate of its own; None is that of its group.

    Attributes:
        group: whose learning rate it has otherwise. example: options for the contract tests, where an option has no default.
    """

    group: ClassVar[str] = "adapter"
    example: ClassVar[dict[str, Any]] = {}

    def __init__(self, channels: int, lr: float | None = None) -> None:
        super().__init__()
        self.channels, self.lr = channels, lr

    @classmethod
    def check(cls, **options: Any) -> None:
        """Raises ``ValueError`` for options that cannot work, before any weight is loaded."""

    @abstractmethod
    def attached(self, attention: nn.Module) -> AbstractContextManager[None]:
        """The change acts on ``attention`` inside this context, and is gone after it, bit for bit."""


class Appearance(nn.Module, ABC):
    """What learns, in training, how the reference looks, so that the motion need not; gone at inference.

    It is at work while the motion is learnt, and itself learns from denoising single frames alone (MotionDirector, Zhao et al. 2023).

    Args:
        skipped: share of the training steps without it. embeddings: whether motion is attached, and learns too, in the single-frame pass.
        lr: learning rate of its own; None is that of its group.

    Attributes:
        group: whose learning rate it has otherwise. example: options for the contract tests, where an option has no default.
    """

    group: ClassVar[str] = "appearance"
    example: ClassVar[dict[str, Any]] = {}

    def __init__(self, skipped: float = 0.0, embeddings: bool = False, lr: float | None = None) -> None:
        super().__init__()
        self.skipped, self.embeddings, self.lr = skipped, embeddings, lr

    @classmethod
    def check(cls, skipped: float = 0.0, embeddings: bool = False, lr: float | None = None, **options: Any) -> None:
        """Raises ``ValueError`` for options that cannot work, before any weight is loaded."""
        if not (isinstance(skipped, int | float) and 0 <= skipped < 1):
            raise ValueError(f"model.appearance: skipped must be at least 0 and below 1, not {skipped!r}")
        check_rate(lr, "model.appearance")

    @abstractmethod
    def attached(self, denoiser: nn.Module, learning: bool) -> AbstractContextManager[None]:
        """It acts on ``denoiser`` inside this context, and is gone after it, bit for bit; gradients reach it if ``learning``."""
