"""The paper's blend of inverted and fresh noise."""

from __future__ import annotations

from torch import Tensor

from motion_ablation.initial_noise.base import INITIAL_NOISES, InitialNoise


@INITIAL_NOISES.register("blend")
class Blend(InitialNoise):
    """``sqrt(rho) * inverted + sqrt(1 - rho) * fresh``: variance is kept (the paper: rho 0.5)."""

    def __init__(self, rho: float = 0.5) -> None:
        if not 0 <= rho <= 1:
            raise ValueError(f"initial noise 'blend': rho must be in [0, 1], not {rho}")
        self.rho = rho

    def __call__(self, fresh: Tensor, inverted: Tensor | None) -> Tensor:
        assert inverted is not None
        return self.rho**0.5 * inverted + (1 - self.rho) ** 0.5 * fresh
