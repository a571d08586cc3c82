"""Each initial noise against its definition."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from motion_ablation.initial_noise import INITIAL_NOISES

SHAPE = (2, 3, 6, 8, 8)


@pytest.fixture
def noises() -> tuple[Tensor, Tensor]:
    return torch.randn(SHAPE), torch.randn(1, *SHAPE[1:]) * 2


@pytest.mark.parametrize("name", INITIAL_NOISES)
def test_contract(name: str, noises: tuple[Tensor, Tensor]) -> None:
    strategy = INITIAL_NOISES.build(name, **INITIAL_NOISES[name].example)
    fresh, inverted = noises
    mixed = strategy(fresh, inverted if strategy.needs_inversion else None)
    assert mixed.shape == fresh.shape and mixed.dtype == fresh.dtype and torch.isfinite(mixed).all()
    assert torch.equal(strategy(fresh, inverted), strategy(fresh, inverted)), "deterministic"
    assert torch.equal(mixed[:1], strategy(fresh[:1], inverted)), "each video on its own"


@pytest.mark.parametrize("name", ["low_frequency", "fft"])
def test_one_noise_with_itself_is_itself(name: str, noises: tuple[Tensor, Tensor]) -> None:
    fresh, _ = noises
    torch.testing.assert_close(INITIAL_NOISES.build(name)(fresh, fresh), fresh)


def resampling(old: int, new: int) -> np.ndarray:
    """``(new, old)`` weights of bilinear resampling with a filter that widens when it shrinks, as torch's ``antialias`` has it.

    New cell ``i`` looks at ``s (i + 1/2)``, old cell ``j`` is at ``j + 1/2``; with aligned corners the step ``s`` is
    ``(old - 1) / (new - 1)``. The weight is a triangle of half-width ``max(s, 1)``, cut off at the border and normalised.
    """
    step = (old - 1) / (new - 1) if new > 1 else 0.0
    width = max(step, 1.0)
    distance = np.abs(np.arange(old) + 0.5 - step * (np.arange(new)[:, None] + 0.5)) / width
    weights = np.maximum(0, 1 - distance)
    return weights / weights.sum(1, keepdims=True)


@pytest.mark.parametrize(("height", "width", "factor"), [(8, 8, 4), (8, 12, 2), (40, 72, 4), (9, 14, 4), (6, 6, 1)])
def test_low_frequency_is_the_filter_of_dmt(height: int, width: int, factor: int) -> None:
    fresh, inverted = torch.randn(2, 3, 2, height, width), torch.randn(1, 3, 2, height, width)
    low = [resampling(max(1, side // factor), side) @ resampling(side, max(1, side // factor)) for side in (height, width)]
    rest = np.einsum("yj,bcfjk,xk->bcfyx", low[0], (inverted - fresh).numpy(), low[1])
    mixed = INITIAL_NOISES.build("low_frequency", factor=factor)(fresh, inverted)
    np.testing.assert_allclose(mixed.numpy(), fresh.numpy() + rest, atol=1e-5)


def test_fft_equals_its_definition(noises: tuple[Tensor, Tensor]) -> None:
    fresh, inverted = (noise.double().numpy() for noise in noises)
    grids = np.meshgrid(*(np.minimum(np.arange(n), n - np.arange(n)) / (n / 2) for n in SHAPE[-3:]), indexing="ij")
    gain = np.exp(-sum((grid / width) ** 2 for grid, width in zip(grids, (0.5, 0.25, 0.25), strict=True)) / 2)
    spectrum = np.fft.fftn(inverted, axes=(-3, -2, -1)) * gain + np.fft.fftn(fresh, axes=(-3, -2, -1)) * (1 - gain)
    expected = np.fft.ifftn(spectrum, axes=(-3, -2, -1))
    assert np.abs(expected.imag).max() < 1e-9
    mixed = INITIAL_NOISES.build("fft", space=0.25, time=0.5)(*noises)
    np.testing.assert_allclose(mixed.numpy(), expected.real, atol=1e-5)


@pytest.mark.parametrize(("name", "options"), [("low_frequency", {"factor": 0}), ("fft", {"space": 0}), ("fft", {"time": -1})])
def test_options_that_cannot_work(name: str, options: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=f"initial noise '{name}'"):
        INITIAL_NOISES.build(name, **options)
