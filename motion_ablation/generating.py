"""The generating sentence: start from a noise, sample with motion attached, decode."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from motion_ablation.cache.addresses import video_recipes
from motion_ablation.cache.artefacts import Tensors
from motion_ablation.initial_noise import INITIAL_NOISES
from motion_ablation.latents import Latents
from motion_ablation.motion import MotionEmbeddings
from motion_ablation.records import Cell, Clip, Sample

STARTS = ("mean", "sample")


@dataclass
class SamplingConfig:
    """How videos are generated.

    Attributes:
        steps: of the sampler. guidance: classifier-free guidance; 1 is none. negative_prompt: text of the other branch.
        inversion_steps: steps of the inversion of the reference, with an empty prompt and no guidance.
        noises: options of initial noises, by name, such as ``{blend: {rho: 0.5}}``.
        inversion_start: what is inverted, the ``mean`` of the autoencoder's posterior or one ``sample`` of it (the released code).
    """

    steps: int = 30
    guidance: float = 12.0
    negative_prompt: str = ""
    inversion_steps: int = 50
    noises: dict[str, dict[str, Any]] = field(default_factory=dict)
    inversion_start: str = "mean"

    def check(self) -> None:
        """Raises ``ValueError`` naming the key that cannot work."""
        for key in ("steps", "inversion_steps"):
            if not 1 <= getattr(self, key) <= 1000:
                raise ValueError(f"sampling.{key} must be from 1 to 1000, not {getattr(self, key)}")
        if self.guidance < 1:
            raise ValueError(f"sampling.guidance must be at least 1 (no guidance), not {self.guidance}")
        if self.inversion_start not in STARTS:
            raise ValueError(f"sampling.inversion_start: '{self.inversion_start}' is not one of {', '.join(STARTS)}")
        for name, options in self.noises.items():
            INITIAL_NOISES.parse({"name": name, **options}, "sampling.noises")
            INITIAL_NOISES.build(name, **options)


def cell_seed(cell: Cell) -> int:
    """Seed of a cell's fresh noise: the same for every experiment, so that differences are paired on common noise, and another for every
    reference, so that what the noise does is averaged over references."""
    return int.from_bytes(hashlib.sha256(f"{cell.reference} {cell.seed} {cell.prompt}".encode()).digest()[:7], "big")


@dataclass
class Generating:
    """Videos of cells that share a reference and an initial noise.

    Attributes:
        latents: the references. motion: what was learnt. sampling: how.
    """

    latents: Latents
    motion: MotionEmbeddings
    sampling: SamplingConfig

    def samples(self, clip: Clip, cells: list[Cell], keep: bool = False) -> list[Sample]:
        """The videos, whose frames are whole steps of 1/255; ``keep``: also on disk, and what was kept before is taken from there.

        A cell generated in another batch is the same up to floating-point noise, which may flip a rounding: a few pixels may differ by
        one step.

        Raises:
            FloatingPointError: if a video is not finite.
        """
        if not cells:
            return []  # of several processes, one may have no cell left
        backbone = self.latents.backbone
        if keep:
            make = lambda missing: [{"frames": video} for video in self.pixels(clip, [cells[index] for index in missing])]  # noqa: E731
            kept: list[Tensors] = self.latents.artefacts.get_all("videos", self.recipes(clip, cells), make)
            videos = [tensors["frames"].to(backbone.device) for tensors in kept]
        else:
            videos = list(self.pixels(clip, cells))
        return [Sample(video.float() / 255, clip, cell.prompt, cell.seed, cell.noise) for video, cell in zip(videos, cells, strict=True)]

    @torch.no_grad()
    def pixels(self, clip: Clip, cells: list[Cell]) -> Tensor:
        """The generated videos as bytes, ``(b, f, 3, h, w)``; motion is in both branches of the guidance."""
        backbone, sampling, ready = self.latents.backbone, self.sampling, self.latents.of(clip)
        text = self.latents.embed([cell.prompt for cell in cells])
        negative = self.latents.embed([sampling.negative_prompt])
        noise = self.noise(clip, cells)
        with self.motion.attached(backbone.denoiser, ready.sites, generating=True):
            clean = backbone.generate(noise, text, negative, sampling.steps, sampling.guidance)
        videos = backbone.decode(clean)
        if not torch.isfinite(videos).all():
            raise FloatingPointError(
                f"a generated video is not finite (prompt: {cells[0].prompt!r}); lower model.optimizer.lr or generate in 32-bit precision"
            )
        return (videos * 255).round().byte()

    @torch.no_grad()
    def noise(self, clip: Clip, cells: list[Cell]) -> Tensor:
        """Where the cells start from, ``(b, c, f, h, w)``: fresh noise of each cell's own seed, and the reference's where asked for."""
        backbone, name = self.latents.backbone, cells[0].noise
        shape = backbone.latent_shape(len(clip.frames), *clip.frames.shape[-2:])
        draws = [torch.randn(shape, generator=torch.Generator().manual_seed(cell_seed(cell))) for cell in cells]
        strategy = INITIAL_NOISES.build(name, **self.sampling.noises.get(name, {}))
        initial: Tensor = strategy(torch.stack(draws).to(backbone.device), self.inverted(clip) if strategy.needs_inversion else None)
        return initial

    def inverted(self, clip: Clip) -> Tensor:
        """The reference's own noise."""
        return self.latents.inverted(clip, self.sampling.inversion_steps, self.sampling.inversion_start)

    def recipes(self, clip: Clip, cells: list[Cell]) -> list[dict[str, Any]]:
        """The addresses of the videos. The reference counts only where the initial noise is made of it."""
        sampling, inversion = self.sampling, {}
        if INITIAL_NOISES[cells[0].noise].needs_inversion:
            inversion = self.latents.inversion(clip, sampling.inversion_steps, sampling.inversion_start)
        how = [sampling.steps, sampling.guidance, sampling.negative_prompt]
        options = sampling.noises.get(cells[0].noise, {})
        return video_recipes(self.latents.backbone, self.motion, clip, cells, how, options, inversion, self.latents.precision())
