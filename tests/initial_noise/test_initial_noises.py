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
    strategy = INITIAL_NOISES.build(name)
    fresh, inverted = noises
    mixed = strategy(fresh, inverted if strategy.needs_inversion else None)
    assert mixed.shape == fresh.shape and mixed.dtype == fresh.dtype and torch.isfinite(mixed).all()
    assert torch.equal(strategy(fresh, inverted), strategy(fresh, inverted)), "deterministic"
    assert torch.equal(mixed[:1], strategy(fresh[:1], inverted)), "each video on its own"


@pytest.mark.parametrize("name", ["low_frequency", "fft"])
def test_one_noise_with_itself_is_itself(name: str, noises: tuple[Tensor, Tensor]) -> None:
    fresh, _ = noises
    torch.testing.assert_close(INITIAL_NOISES.build(name)(fresh, fresh), fresh)


def test_low_frequency_takes_the_means_of_the_inverted_noise(noises: tuple[Tensor, Tensor]) -> None:
    fresh, inverted = noises
    mixed = INITIAL_NOISES.build("low_frequency", factor=8)(fresh, inverted)
    torch.testing.assert_close(mixed.mean((-2, -1)), inverted.mean((-2, -1)).expand_as(mixed.mean((-2, -1))))
    torch.testing.assert_close(mixed - mixed.mean((-2, -1), keepdim=True), fresh - fresh.mean((-2, -1), keepdim=True))
    assert torch.equal(INITIAL_NOISES.build("low_frequency", factor=1)(fresh, fresh), fresh)


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
