"""Diffusion with a list of signal shares, sampled by DDIM (Song et al. 2020)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from diffusers import DDIMInverseScheduler, DDIMScheduler
from torch import Tensor

from motion_ablation.backbones.diffusion.base import Denoise, Diffusion, read_config


class DDIM(Diffusion):
    """The training schedule and the deterministic sampler of ``DDIMScheduler``, in its own prediction type."""

    def __init__(self, scheduler: Any) -> None:
        self.scheduler = scheduler

    @classmethod
    def read(cls, folder: Path, known: Sequence[str] = ("DDIMScheduler",), **changes: Any) -> DDIM:
        """The schedule in a checkpoint's ``scheduler`` folder.

        Args:
            known: classes that the folder may name; see :func:`read_config`. changes: of its numbers.
        """
        read_config(folder, known)
        return cls(DDIMScheduler.from_pretrained(folder, local_files_only=True, **changes))

    def draw(self, generator: torch.Generator) -> Tensor:
        """A timestep, each as likely as any other."""
        return torch.randint(self.scheduler.config.num_train_timesteps, (1,), generator=generator)

    def noised(self, clean: Tensor, noise: Tensor, timestep: Tensor) -> Tensor:
        noisy: Tensor = self.scheduler.add_noise(clean, noise, timestep)
        return noisy

    def target(self, clean: Tensor, noise: Tensor, timestep: Tensor) -> Tensor:
        kind = self.scheduler.config.prediction_type
        if kind == "epsilon":
            return noise
        if kind == "v_prediction":
            velocity: Tensor = self.scheduler.get_velocity(clean, noise, timestep)
            return velocity
        if kind == "sample":
            return clean
        raise ValueError(f"prediction type '{kind}' is not one of epsilon, v_prediction, sample")

    def sample(self, denoise: Denoise, noise: Tensor, steps: int) -> Tensor:
        scheduler, latents = self.sampler(steps, noise.device), noise
        for timestep in scheduler.timesteps:
            latents = scheduler.step(denoise(latents, timestep), timestep, latents).prev_sample
        return latents

    def invert(self, denoise: Denoise, clean: Tensor, steps: int) -> Tensor:
        inverse, latents = DDIMInverseScheduler.from_config(self.scheduler.config), clean
        inverse.set_timesteps(steps, device=latents.device)
        for timestep in inverse.timesteps:
            latents = inverse.step(denoise(latents, timestep), timestep, latents).prev_sample
        return latents

    def sampler(self, steps: int, device: torch.device) -> Any:
        """A scheduler of the same numbers, set to so many steps. Raises ``ValueError`` if there are not so many."""
        scheduler = type(self.scheduler).from_config(self.scheduler.config)
        scheduler.set_timesteps(steps, device=device)
        if int(scheduler.timesteps[0]) >= scheduler.config.num_train_timesteps:
            raise ValueError(f"sampling.steps {steps} is too much for this noise schedule: it would start beyond its last timestep")
        return scheduler
