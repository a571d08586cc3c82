"""Fresh noise only."""

from __future__ import annotations

from torch import Tensor

from motion_ablation.initial_noise.base import INITIAL_NOISES, InitialNoise


@INITIAL_NOISES.register("random")
class Random(InitialNoise):
    """Fresh Gaussian noise: the setting that isolates what the embedding itself does."""

    needs_inversion = False

    def __call__(self, fresh: Tensor, inverted: Tensor | None) -> Tensor:
        return fresh
