"""Low spatial frequencies of the inverted noise, the rest fresh."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from motion_ablation.initial_noise.base import INITIAL_NOISES, InitialNoise


@INITIAL_NOISES.register("low_frequency")
class LowFrequency(InitialNoise):
    """``fresh - low(fresh) + low(inverted)``, ``low``: down- and up-sampling in space by ``factor`` (DMT, Yatim et al. 2023: 4)."""

    def __init__(self, factor: int = 4) -> None:
        if not isinstance(factor, int) or factor < 1:
            raise ValueError(f"initial noise 'low_frequency': factor must be a whole number of at least 1, not {factor!r}")
        self.factor = factor

    def __call__(self, fresh: Tensor, inverted: Tensor | None) -> Tensor:
        assert inverted is not None
        return fresh + low_frequencies(inverted - fresh, self.factor)


def low_frequencies(latents: Tensor, factor: int) -> Tensor:
    """DMT's filter of ``(b, c, f, h, w)``: bilinear and anti-aliased, ``factor`` times down and back, with torch's aligned corners."""
    flat = latents.transpose(1, 2).flatten(0, 1)
    height, width = (max(1, side // factor) for side in flat.shape[-2:])
    small = F.interpolate(flat, size=(height, width), mode="bilinear", align_corners=True, antialias=True)
    large = F.interpolate(small, size=flat.shape[-2:], mode="bilinear", align_corners=True, antialias=True)
    return large.unflatten(0, (len(latents), -1)).transpose(1, 2)
