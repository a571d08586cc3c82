"""What the rest of the project needs from a frozen video diffusion model.

Latents are ``(b, c, f, h, w)``; videos are ``(b, f, 3, H, W)`` in ``[0, 1]``; texts become ``(b, n, d)``.
Noise, timesteps and generators are always arguments.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from motion_ablation.backbones.diffusion.base import Diffusion
from motion_ablation.records import Site
from motion_ablation.registry import Registry

BACKBONES: Registry[Any] = Registry("backbone", "motion_ablation.backbones")


class Posterior(NamedTuple):
    """The autoencoder's Gaussian over one clip's scaled latents: ``mean`` and ``std``, ``(1, c, f, h, w)``."""

    mean: Tensor
    std: Tensor

    def sample(self, generator: torch.Generator | None = None) -> Tensor:
        """A draw, as the paper's training uses."""
        noise = torch.randn(self.mean.shape, generator=generator, dtype=self.mean.dtype).to(self.mean.device)
        return self.mean + self.std * noise

    def kept(self) -> Tensor:
        """One draw that is the same each time, as the released code's cache of latents."""
        return self.sample(torch.Generator().manual_seed(0))


class Backbone(nn.Module, ABC):
    """A frozen text-to-video diffusion model.

    Attributes:
        denoiser: the network that motion is attached to. diffusion: its noise schedule.
        fingerprint: hash of the weights, part of every artefact's address.
        text_fingerprint: hash of a text encoder that is too large to stay, whose features are kept on disk; empty for one that stays.
        stages: names of the network's parts, as its sites give them. recomputes: whether the backward pass runs the network again, so
            that gradients must be taken while motion is attached.
        network: diffusers' class of the denoiser, by which the backbone of a pipeline is known; None for one that no pipeline has.
    """

    stages: ClassVar[tuple[str, ...]]
    network: ClassVar[Any] = None
    denoiser: nn.Module
    diffusion: Diffusion
    fingerprint: str
    text_fingerprint: str = ""
    recomputes: bool = False

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        first: Tensor = next(self.parameters())
        return first.device

    @abstractmethod
    def encode(self, frames: Tensor) -> Posterior:
        """Posterior of one video ``(f, 3, H, W)``."""

    @abstractmethod
    def decode(self, latents: Tensor) -> Tensor:
        """Videos ``(b, f, 3, H, W)`` in ``[0, 1]``."""

    @abstractmethod
    def embed(self, texts: list[str]) -> Tensor:
        """Token features ``(b, n, d)``."""

    def left_out(self, texts: Iterable[str]) -> dict[str, str]:
        """What :meth:`embed` cannot take of texts that are too long, by text, after a warning."""
        return {}

    @abstractmethod
    def denoise(self, latents: Tensor, timestep: Tensor, text: Tensor) -> Tensor:
        """The network's output, as :attr:`diffusion` takes it, shaped like ``latents``."""

    @abstractmethod
    def sites(self, frames: int, height: int, width: int) -> list[Site]:
        """Every place motion can be attached, as seen by a clip of ``frames`` frames of ``height x width`` pixels."""

    @abstractmethod
    def latent_shape(self, frames: int, height: int, width: int) -> tuple[int, int, int, int]:
        """``(c, f, h, w)`` of the latents of such a clip. Raises ``ValueError`` for sizes the model cannot take."""

    @classmethod
    def sites_of(cls, source: str, frames: int, height: int, width: int, **options: Any) -> list[Site]:
        """:meth:`sites` of a checkpoint; a class that can tell them from configuration files alone does so."""
        return cls(source=source, **options).sites(frames, height, width)

    @classmethod
    def sites_in(cls, pipe: Any, latents: tuple[int, ...]) -> list[Site]:
        """Every place motion can be attached in a diffusers pipeline.

        Args:
            pipe: one around a :attr:`network`. latents: shape of what its denoiser is given, without the batch.
        """
        raise NotImplementedError(f"{cls.__name__} has a network but no sites_in, which finds the sites of a pipeline")

    @classmethod
    def tiny(cls, folder: Path) -> dict[str, Any]:
        """Writes a tiny random model of this class to ``folder`` and returns the options that load it: the contract tests run on it."""
        raise NotImplementedError(f"{cls.__name__} needs a classmethod tiny(folder), for tests/backbones/test_contract.py")

    def draw(self, generator: torch.Generator) -> Tensor:
        """A timestep of training, ``(1,)``."""
        return self.diffusion.draw(generator).to(self.device)

    def noised(self, clean: Tensor, noise: Tensor, timestep: Tensor) -> Tensor:
        """``clean`` latents with ``noise`` as far as ``timestep`` says."""
        return self.diffusion.noised(clean, noise, timestep)

    def target(self, clean: Tensor, noise: Tensor, timestep: Tensor) -> Tensor:
        """What the network should output."""
        return self.diffusion.target(clean, noise, timestep)

    @torch.no_grad()
    def invert(self, latents: Tensor, text: Tensor, steps: int) -> Tensor:
        """Deterministic inversion of clean ``latents`` to the noise they come from, unguided."""
        text = text.expand(len(latents), -1, -1)
        return self.diffusion.invert(lambda noisy, timestep: self.denoise(noisy, timestep, text), latents, steps)

    @torch.no_grad()
    def generate(self, noise: Tensor, text: Tensor, negative: Tensor, steps: int, guidance: float) -> Tensor:
        """Deterministic sampling with classifier-free guidance (Ho & Salimans 2022); returns clean latents.

        Args:
            noise: initial latents ``(b, c, f, h, w)``. text: ``(b, n, d)``. negative: ``(1, n, d)``.
            guidance: ``negative + guidance * (text - negative)``; 1 needs only one branch.
        """
        both = torch.cat([negative.expand(len(text), -1, -1), text])

        def guided(latents: Tensor, timestep: Tensor) -> Tensor:
            if guidance == 1:
                return self.denoise(latents, timestep, text)
            unconditional, conditional = self.denoise(torch.cat([latents, latents]), timestep, both).chunk(2)
            return unconditional + guidance * (conditional - unconditional)

        return self.diffusion.sample(guided, noise, steps)
