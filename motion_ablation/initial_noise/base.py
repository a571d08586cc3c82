"""What an initial noise is: where a generated video starts from."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar

from torch import Tensor

from motion_ablation.registry import Registry

INITIAL_NOISES: Registry[Any] = Registry("initial noise", "motion_ablation.initial_noise")


class InitialNoise(ABC):
    """Combines fresh Gaussian noise with the reference's inverted noise; both ``(b, c, f, h, w)``.

    Attributes:
        needs_inversion: whether the inverted noise is used; if not, it is never computed.
        example: options for the contract tests, where an option has no default.
    """

    example: ClassVar[dict[str, Any]] = {}
    needs_inversion: ClassVar[bool] = True

    @abstractmethod
    def __call__(self, fresh: Tensor, inverted: Tensor | None) -> Tensor:
        """The initial latents, shaped like ``fresh``."""
