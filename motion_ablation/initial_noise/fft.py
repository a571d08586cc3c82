"""Low frequencies in space and time of the inverted noise, the rest fresh."""

from __future__ import annotations

import torch
from torch import Tensor

from motion_ablation.initial_noise.base import INITIAL_NOISES, InitialNoise


@INITIAL_NOISES.register("fft")
class Fft(InitialNoise):
    """``fresh + G (inverted - fresh)``, ``G`` a 3-D Gaussian low-pass by FFT (FreeInit, Wu et al. 2023).

    ``G = exp(-(t^2 / time^2 + y^2 / space^2 + x^2 / space^2) / 2)`` for frequencies ``t``, ``y``, ``x`` in units of the Nyquist frequency.
    """

    def __init__(self, space: float = 0.25, time: float = 0.25) -> None:
        if space <= 0 or time <= 0:
            raise ValueError(f"initial noise 'fft': space and time must be positive, not {space} and {time}")
        self.space, self.time = space, time

    def __call__(self, fresh: Tensor, inverted: Tensor | None) -> Tensor:
        assert inverted is not None
        frequencies = [2 * torch.fft.fftfreq(n, device=fresh.device) for n in fresh.shape[-3:]]
        t, y, x = torch.meshgrid(*frequencies, indexing="ij")
        gain = torch.exp(-((t / self.time) ** 2 + (y / self.space) ** 2 + (x / self.space) ** 2) / 2)
        spectrum = torch.fft.fftn((inverted - fresh).float(), dim=(-3, -2, -1))
        return fresh + torch.fft.ifftn(gain * spectrum, dim=(-3, -2, -1)).real.to(fresh.dtype)
