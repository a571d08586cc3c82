"""The reference's own noise."""

from __future__ import annotations

from torch import Tensor

from motion_ablation.initial_noise.base import INITIAL_NOISES, InitialNoise


@INITIAL_NOISES.register("inverted")
class Inverted(InitialNoise):
    """The reference's DDIM-inverted noise, as it is; seeds make no difference."""

    def __call__(self, fresh: Tensor, inverted: Tensor | None) -> Tensor:
        assert inverted is not None
        return inverted.expand_as(fresh)
