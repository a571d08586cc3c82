"""What an integration is: how a motion embedding enters a feature."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar

from torch import Tensor, nn

from motion_ablation.registry import Registry

INTEGRATIONS: Registry[Any] = Registry("integration", "motion_ablation.motion.integrations", given=("channels",))


class Integration(nn.Module, ABC):
    """Combines features with an embedding; with a zero embedding a new one returns the features unchanged.

    Args:
        channels: width of the features and of the embedding.

    Attributes:
        ports: projections that it can act on. lengthens: whether it adds tokens, ``f`` to ``2 f``.
        group: whose learning rate its own weights have. example: options for the contract tests, where an option has no default.
    """

    group: ClassVar[str] = "integration"
    example: ClassVar[dict[str, Any]] = {}
    ports: ClassVar[tuple[str, ...]] = ("q", "k", "v")
    lengthens: ClassVar[bool] = False

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = channels

    @abstractmethod
    def forward(self, features: Tensor, motion: Tensor) -> Tensor:
        """``(b, n, f, c)`` features with ``(1 or n, f, c)`` motion, to ``(b, n, f, c)``."""
