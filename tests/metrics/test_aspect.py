"""Frames that are not square: the numbers that a wrong unit gave, at the paper's own size."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from motion_ablation.metrics import DynamicDegree, MotionFidelity, Tracks, track_videos
from motion_ablation.metrics.calibrated_motion import GRID
from motion_ablation.metrics.tracking.camera import camera_motion, moved

Pan = Callable[..., torch.Tensor]
SIZES = (320, 576)


@pytest.mark.parametrize("protocol", ["calibrated", "two_way"])
def test_a_perpendicular_pan_scores_zero_at_both_sizes(protocol: str, pan: Pan) -> None:
    metric = MotionFidelity(protocol)
    for width in SIZES:
        reference = pan((4, 4), width, 0, frames=6, height=320)
        across = metric.score(pan((4, -4), width, 1, frames=6, height=320), reference).item()
        assert across == pytest.approx(0, abs=0.08 if protocol == "calibrated" else 0.12)
        right, down = (metric.score(pan(v, width, 1, frames=6, height=320), reference).item() for v in ((4, 0), (0, 4)))
        assert right == pytest.approx(down, abs=0.04)


def test_equal_speeds_have_equal_dynamic_degree(pan: Pan) -> None:
    found = [DynamicDegree().score(pan(v, width, 0, frames=6, height=320)).item() for width in SIZES for v in ((4, 0), (0, 4))]
    assert found == pytest.approx([4 * 5 / 160] * 4, rel=0.1)


def test_both_axes_have_one_unit() -> None:
    class Right:
        """One point that goes from the left edge to the right one, and one from the upper edge to the lower."""

        name = "right"

        def __call__(self, frames: torch.Tensor) -> Tracks:
            points = torch.tensor([[[-1.0, 0], [0, -1]], [[1, 0], [0, 1]]])[None].expand(len(frames), -1, -1, -1)
            return Tracks(points, torch.ones(len(frames), 2, 2, dtype=torch.bool))

    for shape, extent in (((32, 64), (2, 1)), ((64, 32), (1, 2)), ((48, 48), (1, 1))):
        tracks = track_videos(Right(), torch.rand(1, 2, 3, *shape))
        assert tracks.extent == extent and tracks.points[0].diff(dim=0)[0].norm(dim=-1).tolist() == [2 * side for side in extent]


def test_a_camera_covers_a_wide_frame() -> None:
    """What fills the same share of the frame is a camera, or an object, at any aspect."""
    side = torch.linspace(-0.95, 0.95, 15).double()
    places = torch.stack(torch.meshgrid(side, side, indexing="xy"), -1).reshape(-1, 2).numpy()
    for extent in ((1.0, 1.0), (1.8, 1.0), (1.0, 1.8)):
        everywhere = places * extent
        found = camera_motion(everywhere, everywhere + 0.1, extent)
        assert moved(found, GRID) == pytest.approx(GRID + 0.1, abs=1e-3)
        middle = everywhere[abs(places).max(1) < 0.35]
        assert camera_motion(middle, middle + 0.1, extent) == pytest.approx(torch.eye(3).numpy())
