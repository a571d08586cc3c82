"""FID against clean-fid and scipy computed directly."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import linalg

from motion_ablation.metrics import FrechetDistance, frechet_from_features


class Average:
    """A stand-in network: mean colours of the four quadrants."""

    name, resize, dimension = "average", "none", 12

    def images(self, frames: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.adaptive_avg_pool2d(frames, 2).flatten(1)


def test_equals_scipy() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(200, 6)), rng.normal(size=(150, 6)) @ np.diag(np.arange(1, 7)) + 0.5
    root = linalg.sqrtm(np.cov(a.T) @ np.cov(b.T)).real
    expected = ((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(np.cov(a.T) + np.cov(b.T) - 2 * root)
    assert frechet_from_features(torch.from_numpy(a), torch.from_numpy(b)) == pytest.approx(expected, rel=1e-8)


@pytest.mark.parametrize("rows", [8, 300])
def test_identical_sets_are_at_zero_singular_or_not(rows: int) -> None:
    a = torch.nn.functional.normalize(torch.randn(rows, 64, generator=torch.Generator().manual_seed(0)), dim=-1)
    assert frechet_from_features(a, a) == pytest.approx(0, abs=2e-3)


def test_batches_add_up_and_pool() -> None:
    frames, reference = torch.rand(4, 5, 3, 8, 8), torch.rand(3, 6, 3, 10, 8) * 0.7
    metric = FrechetDistance(Average())
    metric.update(frames[:1], reference[:1])
    metric.update(frames[1:], reference[1:])
    expected = frechet_from_features(metric.features_of(frames), metric.features_of(reference))
    assert metric.compute().item() == pytest.approx(expected, rel=1e-6)
    assert metric.protocol["generated_frames"] == 20 and "warning" not in metric.protocol


def test_few_frames_warn() -> None:
    metric = FrechetDistance(Average())
    metric.update(torch.rand(1, 1, 3, 8, 8), torch.rand(1, 4, 3, 8, 8))
    with pytest.warns(UserWarning, match="at least 2"):
        assert metric.compute().isnan()
    metric.update(torch.rand(1, 2, 3, 8, 8), torch.rand(1, 4, 3, 8, 8))
    assert metric.compute().isfinite() and "3 frames < 12" in str(metric.protocol["warning"])
