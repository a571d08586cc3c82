"""The records that travel between the rooms, and the glossary of axis letters.

Axis letters, everywhere: ``b`` batch, ``f`` frames, ``c`` channels, ``h`` height, ``w`` width, ``n`` points or tokens.
Pixels are floats in ``[0, 1]`` and videos are ``(f, 3, h, w)`` unless a docstring says otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class Clip:
    """A reference video.

    Attributes:
        frames: ``(f, 3, h, w)`` float in ``[0, 1]``.
        fps: frames per second after resampling.
        caption: what the video shows; the text that the motion is learnt with.
        name: short and unique among the references of a run; used in file names and tables.
        prompts: texts to generate new videos with; empty means that the run's own prompts serve.
        truth: the built-in world's true motion, by name (``center`` ``(f, 2)``, ...); empty for real videos.
    """

    frames: Tensor
    fps: float
    caption: str
    name: str
    prompts: tuple[str, ...] = ()
    truth: dict[str, Tensor] = field(default_factory=dict)

    def to(self, device: torch.device | str) -> Clip:
        """The same clip on ``device``."""
        truth = {name: value.to(device) for name, value in self.truth.items()}
        return replace(self, frames=self.frames.to(device), truth=truth)


@dataclass(frozen=True, order=True)
class Cell:
    """The key of a generated video: what determines it, apart from the experiment and its training.

    Attributes:
        reference: name of the clip whose motion was asked for. prompt: the text. seed: the generation seed. noise: name of the initial
            noise.
    """

    reference: str
    prompt: str
    seed: int
    noise: str

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> Cell:
        """The cell of a row that has its four values among others."""
        return cls(*(row[name] for name in CELL))


CELL = tuple(each.name for each in fields(Cell))  # the key's columns in every table of scores


@dataclass(frozen=True)
class Site:
    """One transformer block of a backbone whose attention sees time: where motion can be attached.

    Attributes:
        name: module path of the block inside the backbone's denoiser.
        stage: the part of the network that it is in, by the backbone's own name, such as ``"down"``.
        channels: width of the block's features. frames, height, width: the sequence and grid it sees for the probed clip.
        attentions: module paths of its self-attentions over time, in order, relative to ``name``.
        tokens: order of the features that they take: ``rows``, one sequence of frames for each place, ``(b h w, f, c)``; or ``joint``, one
            sequence for all, ``(b, skip + f h w, c)``, frame by frame, each in row-major order.
        skip: tokens of text before those of the video, in a ``joint`` sequence.
    """

    name: str
    stage: str
    channels: int
    frames: int
    height: int
    width: int
    attentions: tuple[str, ...] = ("attn1", "attn2")
    tokens: str = "rows"
    skip: int = 0


@dataclass(frozen=True)
class Sample:
    """One generated video and all that determined it.

    Attributes:
        frames: ``(f, 3, h, w)`` float in ``[0, 1]``, lossless.
        reference: the clip whose motion was asked for.
        prompt: the text. seed: the generation seed. noise: name of the initial noise.
    """

    frames: Tensor
    reference: Clip
    prompt: str
    seed: int
    noise: str

    @property
    def cell(self) -> Cell:
        """Its key."""
        return Cell(self.reference.name, self.prompt, self.seed, self.noise)

    def to(self, device: torch.device | str) -> Sample:
        """The same sample on ``device``; Lightning moves what ``predict`` returns by this."""
        return replace(self, frames=self.frames.to(device), reference=self.reference.to(device))


def key(name: str) -> str:
    """A module path as a name that ``nn.ModuleDict`` takes."""
    return name.replace(".", "/")
