"""FID and KID against scipy, clean-fid, torchmetrics and slow loops, and the sets that they are taken against."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest
import torch
from cleanfid.fid import kernel_distance as clean_kernel_distance
from PIL import Image
from scipy import linalg
from torchmetrics.image.kid import poly_mmd

from motion_ablation.metrics import FrechetDistance, KernelDistance, frechet_from_features, kernel_distance
from motion_ablation.metrics.set_distance import SetDistance


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


def features(rows: int, seed: int = 0, dimension: int = 12, shift: float = 0.0) -> torch.Tensor:
    return torch.randn(rows, dimension, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) + shift


def test_kernel_distance_equals_a_slow_loop() -> None:
    a, b = features(7), features(5, 1, shift=0.4)

    def mean(x: torch.Tensor, y: torch.Tensor, other: bool) -> float:
        return float(np.mean([(float(p @ q) / 12 + 1) ** 3 for i, p in enumerate(x) for j, q in enumerate(y) if not (other and i == j)]))

    assert kernel_distance(a, b) == pytest.approx(mean(a, a, True) + mean(b, b, True) - 2 * mean(a, b, False), rel=1e-12)


def test_kernel_distance_equals_clean_fid_and_torchmetrics() -> None:
    a, b = features(60), features(60, 1, shift=0.2)
    assert kernel_distance(a, b) == pytest.approx(clean_kernel_distance(a.numpy(), b.numpy(), num_subsets=1), rel=1e-9)
    assert kernel_distance(a, b) == pytest.approx(float(poly_mmd(a, b)), rel=1e-9)
    assert kernel_distance(a, b, rows=7) == pytest.approx(float(poly_mmd(a, b)), rel=1e-9)


def test_kid_has_no_bias_where_fid_has() -> None:
    """Two small sets of one distribution: KID scatters around 0, FID is far above it."""
    kid = [kernel_distance(features(10, seed), features(10, seed + 1000)) for seed in range(200)]
    assert abs(np.mean(kid)) < 3 * np.std(kid) / 200**0.5 and min(kid) < 0
    assert min(frechet_from_features(features(20, seed), features(20, seed + 1000)) for seed in range(5)) > 1


@pytest.mark.parametrize("metric_class", [FrechetDistance, KernelDistance])
class TestAgainst:
    def test_a_reference_counts_once(self, metric_class: type[SetDistance]) -> None:
        frames, reference = torch.rand(3, 5, 3, 8, 8), torch.rand(2, 5, 3, 8, 8)
        once, often = metric_class(Average()), metric_class(Average())
        once.update(frames[:2], reference)
        once.update(frames[2:], reference[:1])
        often.update(frames, torch.cat([reference, reference.flip(0), reference[:1]]))
        assert once.compute().item() == pytest.approx(often.compute().item(), rel=1e-9)
        assert once.from_features(once.features_of(frames), once.features_of(reference)) == pytest.approx(once.compute().item(), rel=1e-3)
        assert once.protocol["reference_frames"] == often.protocol["reference_frames"] == 10
        once.reset()
        once.update(frames, reference)
        assert once.compute().item() == pytest.approx(often.compute().item(), rel=1e-6)

    def test_a_folder_of_images_videos_and_kept_frames(self, metric_class: type[SetDistance], tmp_path: Path) -> None:
        pixels = (torch.rand(9, 3, 8, 8) * 255).byte()
        (tmp_path / "deep").mkdir()
        for index, image in enumerate(pixels[:3]):
            Image.fromarray(image.permute(1, 2, 0).numpy()).save(tmp_path / f"{index}.png")
        np.savez(tmp_path / "deep" / "kept.npz", frames=pixels[3:6].permute(0, 2, 3, 1).numpy())
        with av.open(str(tmp_path / "video.mkv"), "w") as container:
            stream = container.add_stream("ffv1", rate=8, options={})
            stream.width, stream.height, stream.pix_fmt = 8, 8, "bgr0"
            for image in pixels[6:]:
                frame = av.VideoFrame.from_ndarray(image.permute(1, 2, 0).contiguous().numpy(), format="rgb24")
                container.mux(stream.encode(frame))
            container.mux(stream.encode())
        (tmp_path / "notes.txt").write_text("left out")
        frames = torch.rand(2, 4, 3, 8, 8)
        folder, direct = metric_class(Average(), tmp_path), metric_class(Average())
        folder.update(frames)
        direct.update(frames, pixels[None])
        assert folder.reads == ("frames",) and folder.protocol["against"] == str(tmp_path)
        assert folder.compute().item() == pytest.approx(direct.compute().item(), rel=1e-5)
        assert folder.protocol["reference_frames"] == 9

    def test_statistics_files(self, metric_class: type[SetDistance], tmp_path: Path) -> None:
        frames, reference = torch.rand(2, 20, 3, 8, 8), torch.rand(1, 30, 3, 8, 8)
        direct = metric_class(Average())
        direct.update(frames, reference)
        rows = direct.features_of(reference).double().numpy()
        np.savez(tmp_path / "fid.npz", mu=rows.mean(0), sigma=np.cov(rows.T))
        np.savez(tmp_path / "kid.npz", feats=rows)
        known = metric_class(Average(), tmp_path / f"{metric_class.name}.npz")
        known.update(frames)
        assert known.compute().item() == pytest.approx(direct.compute().item(), rel=1e-5, abs=1e-7) and not known.warning
        other = metric_class(Average(), tmp_path / ("kid.npz" if metric_class.name == "fid" else "fid.npz"))
        other.update(frames)
        with pytest.raises(ValueError, match="holds no array"):
            other.compute()

    def test_bad_reference_sets(self, metric_class: type[SetDistance], tmp_path: Path) -> None:
        frames = torch.rand(1, 4, 3, 8, 8)
        np.savez(tmp_path / "other.npz", mu=np.zeros(5), sigma=np.eye(5), feats=np.zeros((4, 5)))
        np.savez(tmp_path / "pickled.npz", mu=np.array([{}]), sigma=np.array([{}]), feats=np.array([{}]))
        (tmp_path / "empty").mkdir()
        (tmp_path / "broken").mkdir()
        (tmp_path / "broken" / "a.png").write_bytes(b"no image")
        (tmp_path / "bad.npz").write_bytes(b"no arrays")
        messages = {
            "other.npz": "another network",
            "pickled.npz": "allow_pickle",
            "bad.npz": "bad.npz",
            "empty": "no frames",
            "broken": "a.png",
        }
        for name, message in messages.items():
            metric = metric_class(Average(), tmp_path / name)
            metric.update(frames)
            with pytest.raises(ValueError, match=message):
                metric.compute()
        with pytest.raises(ValueError, match="against must be"):
            metric_class(Average(), tmp_path / "missing")
        with pytest.raises(ValueError, match="give reference"):
            metric_class(Average()).update(frames)


def test_the_warning_counts_distinct_reference_frames() -> None:
    metric, reference = FrechetDistance(Average()), torch.rand(1, 4, 3, 8, 8)
    metric.update(torch.rand(5, 4, 3, 8, 8), reference.expand(5, 4, 3, 8, 8))
    metric.compute()
    assert "4 frames < 12" in str(metric.protocol["warning"])
