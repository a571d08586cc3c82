"""What a noise schedule is; each backbone owns one, and nothing else in the project knows which.

Latents are ``(b, c, f, h, w)``. A timestep is what the network was trained to be told, as a tensor of one number.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

Denoise = Callable[[Tensor, Tensor], Tensor]
"""The network's output for latents and a timestep, its text and its guidance settled."""


class Diffusion(ABC):
    """A noise schedule, by the five things that are asked of it.

    Attributes:
        scheduler: diffusers' own object, which holds the numbers.
    """

    scheduler: Any

    @abstractmethod
    def draw(self, generator: torch.Generator) -> Tensor:
        """A timestep of training, ``(1,)``."""

    @abstractmethod
    def noised(self, clean: Tensor, noise: Tensor, timestep: Tensor) -> Tensor:
        """``clean`` latents with ``noise`` as far as ``timestep`` says."""

    @abstractmethod
    def target(self, clean: Tensor, noise: Tensor, timestep: Tensor) -> Tensor:
        """What the network should output for :meth:`noised`."""

    @abstractmethod
    def sample(self, denoise: Denoise, noise: Tensor, steps: int) -> Tensor:
        """Clean latents from ``noise``, deterministically. Raises ``ValueError`` if there are not so many steps."""

    @abstractmethod
    def invert(self, denoise: Denoise, clean: Tensor, steps: int) -> Tensor:
        """The noise that :meth:`sample` would make ``clean`` of, to first order in the size of a step."""


def read_config(folder: Path, known: Sequence[str]) -> dict[str, Any]:
    """What a checkpoint's ``scheduler`` folder says.

    Args:
        known: names of the classes of scheduler that can be read.

    Raises:
        ValueError: in one line, for any other class, whose numbers would mean something else.
    """
    config: dict[str, Any] = json.loads((folder / "scheduler_config.json").read_text(encoding="utf-8"))
    name = config.get("_class_name")
    if name not in known:
        raise ValueError(f"{folder} holds the noise schedule of a {name}, which this backbone cannot follow; it knows {', '.join(known)}")
    return config
