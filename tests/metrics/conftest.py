"""Videos of known motion for the tests of metrics."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch


@pytest.fixture(scope="session")
def pan() -> Callable[..., torch.Tensor]:
    return panned


def panned(velocity: tuple[float, float], width: int, seed: int, frames: int = 8, height: int = 96) -> torch.Tensor:
    """A texture that moves by ``velocity`` pixels a frame, seen in a frame of ``height`` by ``width``: ``(1, f, 3, h, w)``."""
    rng = torch.Generator().manual_seed(seed)
    big = torch.nn.functional.interpolate(torch.rand(1, 3, 50, 80, generator=rng), size=(400, 640), mode="bicubic")[0].clamp(0, 1)
    left, top = ([round(middle - side / 2 - speed * (t - frames / 2)) for t in range(frames)]
                 for middle, side, speed in ((320, width, velocity[0]), (200, height, velocity[1])))  # fmt: skip
    return torch.stack([big[:, y : y + height, x : x + width] for x, y in zip(left, top, strict=True)])[None]
