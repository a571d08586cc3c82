"""CogVideoX's schedule: DDIM whose signal shares are shifted towards more noise."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from diffusers import CogVideoXDDIMScheduler
from torch import Tensor

from motion_ablation.backbones.diffusion.base import Denoise, read_config
from motion_ablation.backbones.diffusion.ddim import DDIM

KNOWN = ("CogVideoXDDIMScheduler", "CogVideoXDPMScheduler")


class CogVideoXDDIM(DDIM):
    """``CogVideoXDDIMScheduler``, inverted with its own signal shares: ``DDIMInverseScheduler`` knows no ``snr_shift_scale``."""

    @classmethod
    def read(cls, folder: Path, known: Sequence[str] = KNOWN, **changes: Any) -> CogVideoXDDIM:
        """The schedule in a checkpoint's folder; the DPM scheduler has the same numbers, and is sampled by DDIM here."""
        read_config(folder, known)
        return cls(CogVideoXDDIMScheduler.from_pretrained(folder, local_files_only=True, **changes))

    def invert(self, denoise: Denoise, clean: Tensor, steps: int) -> Tensor:
        scheduler, latents = self.sampler(steps, clean.device), clean
        shares, length = scheduler.alphas_cumprod.to(clean), scheduler.config.num_train_timesteps // steps
        for timestep in scheduler.timesteps.flip(0):
            before = int(timestep) - length  # where the sampler's step from this timestep leads
            share = shares[before] if before >= 0 else scheduler.final_alpha_cumprod.to(clean)
            original, noise = self._parts(latents, denoise(latents, timestep), share)
            latents = shares[timestep].sqrt() * original + (1 - shares[timestep]).sqrt() * noise
        return latents

    def _parts(self, latents: Tensor, output: Tensor, share: Tensor) -> tuple[Tensor, Tensor]:
        """Clean latents and noise, from what the network says of ``latents`` that have this share of signal."""
        signal, spread = share.sqrt(), (1 - share).sqrt()
        kind = self.scheduler.config.prediction_type
        if kind == "v_prediction":
            return signal * latents - spread * output, signal * output + spread * latents
        if kind == "epsilon":
            return (latents - spread * output) / signal, output
        return output, (latents - signal * output) / spread
