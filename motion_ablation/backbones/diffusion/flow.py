"""Rectified flow (Liu et al. 2022): straight lines between clean latents and noise."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from diffusers import FlowMatchEulerDiscreteScheduler, UniPCMultistepScheduler
from torch import Tensor

from motion_ablation.backbones.diffusion.base import Denoise, Diffusion, read_config


def shifted(share: Tensor, shift: float) -> Tensor:
    """``shift u / (1 + (shift - 1) u)``: a share of noise in ``[0, 1]``, moved towards 1 by a ``shift`` above 1."""
    return shift * share / (1 + (shift - 1) * share)


class Flow(Diffusion):
    """``x = (1 - s) x0 + s noise``; the network says ``noise - x0`` when told ``1000 s``, which is no whole number.

    Both ways are Euler's steps on one list of shares, the checkpoint's own. Wan's checkpoints name UniPC, whose steps look back on earlier
    ones and so cannot be run backwards; its list is kept, its steps are not.

    Args:
        scheduler: whose list of shares it is. shift: of the shares that are drawn in training; None is the scheduler's own.

    Raises:
        ValueError: for a scheduler that is not set to rectified flow with one shift for all sizes, or a shift that is not positive.
    """

    def __init__(self, scheduler: Any, shift: float | None = None) -> None:
        config = scheduler.config
        if config.get("use_dynamic_shifting") or config.get("stochastic_sampling") or config.get("invert_sigmas"):
            raise ValueError("this rectified flow shifts by size, is stochastic or runs from 0 to 1, which is not followed here")
        if isinstance(scheduler, UniPCMultistepScheduler) and not (
            config.use_flow_sigmas and config.prediction_type == "flow_prediction" and config.final_sigmas_type == "zero"
        ):
            raise ValueError("this UniPCMultistepScheduler is not set to rectified flow (use_flow_sigmas, flow_prediction, down to zero)")
        own = config.get("shift", config.get("flow_shift"))
        self.scheduler, self.shift = scheduler, float(own if shift is None else shift)
        if not self.shift > 0:
            raise ValueError(f"model.backbone.options: shift must be positive, not {shift!r}")

    @classmethod
    def read(cls, folder: Path, shift: float | None = None) -> Flow:
        """The schedule in a checkpoint's ``scheduler`` folder."""
        kinds = {kind.__name__: kind for kind in (FlowMatchEulerDiscreteScheduler, UniPCMultistepScheduler)}
        name = read_config(folder, tuple(kinds))["_class_name"]
        return cls(kinds[name].from_pretrained(folder, local_files_only=True), shift)

    @property
    def length(self) -> int:
        """The timestep of pure noise: 1000."""
        return int(self.scheduler.config.num_train_timesteps)

    def draw(self, generator: torch.Generator) -> Tensor:
        """A timestep: uniform shares of noise, shifted."""
        return self.length * shifted(torch.rand(1, generator=generator), self.shift)

    def noised(self, clean: Tensor, noise: Tensor, timestep: Tensor) -> Tensor:
        share = (timestep / self.length).to(clean).reshape(-1, *[1] * (clean.ndim - 1))
        return (1 - share) * clean + share * noise

    def target(self, clean: Tensor, noise: Tensor, timestep: Tensor) -> Tensor:
        return noise - clean

    def sample(self, denoise: Denoise, noise: Tensor, steps: int) -> Tensor:
        shares, latents = self.shares(steps, noise.device), noise
        for share, ahead in pairwise(shares):
            latents = latents + (ahead - share) * denoise(latents, self.length * share)
        return latents

    def invert(self, denoise: Denoise, clean: Tensor, steps: int) -> Tensor:
        shares, latents = self.shares(steps, clean.device).flip(0), clean
        for share, ahead in pairwise(shares):
            latents = latents + (ahead - share) * denoise(latents, self.length * ahead)
        return latents

    def shares(self, steps: int, device: torch.device) -> Tensor:
        """Shares of noise from about 1 down to 0, ``(steps + 1,)``."""
        scheduler = type(self.scheduler).from_config(self.scheduler.config)
        scheduler.set_timesteps(steps, device=device)
        found: Tensor = scheduler.sigmas.to(device)
        return found
