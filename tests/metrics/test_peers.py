"""The metrics that peers use, by values worked out by hand."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from motion_ablation.metrics import FlowError, SubjectBackground, Tracks, endpoint_error, frechet_distance, ftd, track_chamfer
from motion_ablation.metrics.ftd import repaired
from motion_ablation.metrics.tracking.flow import load_flow
from motion_ablation.registry import UnknownName
from motion_ablation.weights import MissingWeights

Pan = Callable[..., torch.Tensor]


def tracks(*paths: list[tuple[float, float]], hidden: dict[int, list[int]] | None = None) -> Tracks:
    """One video's tracks from their paths; ``hidden`` tells in which frames a track is not seen."""
    points = torch.tensor(paths).transpose(0, 1)[None]
    visible = torch.ones(points.shape[:3], dtype=torch.bool)
    for track, frames in (hidden or {}).items():
        visible[0, frames, track] = False
    return Tracks(points, visible)


def line(start: tuple[float, float], step: tuple[float, float], frames: int = 4) -> list[tuple[float, float]]:
    return [(start[0] + t * step[0], start[1] + t * step[1]) for t in range(frames)]


class TestFrechet:
    def test_by_hand(self) -> None:
        straight = np.array([[0, 0], [1, 0], [2, 0]], float)[:, None]
        assert frechet_distance(straight, straight + np.array([0, 3])) == pytest.approx([3])
        assert frechet_distance(straight, straight[::-1]) == pytest.approx([2]), "the ends are walked together"
        detour = np.array([[0, 0], [1, 2], [2, 0]], float)[:, None]
        assert frechet_distance(straight, detour) == pytest.approx([2])
        slow = np.array([[0, 0], [0, 0], [1, 0], [1, 0], [2, 0]], float)[:, None]
        assert frechet_distance(straight, slow) == pytest.approx([0]), "timing does not count"

    @given(st.integers(0, 10_000))
    @settings(max_examples=25, deadline=None)
    def test_is_a_distance_of_paths(self, seed: int) -> None:
        rng = np.random.default_rng(seed)
        a, b, c = (rng.normal(size=(5, 3, 2)) for _ in range(3))
        ab = frechet_distance(a, b)
        assert ab == pytest.approx(frechet_distance(b, a)) and (frechet_distance(a, a) == 0).all()
        assert (ab <= frechet_distance(a, c) + frechet_distance(c, b) + 1e-9).all()
        ends = np.maximum(np.linalg.norm(a[0] - b[0], axis=-1), np.linalg.norm(a[-1] - b[-1], axis=-1))
        assert (ends - 1e-9 <= ab).all() and (ab <= np.linalg.norm(a - b, axis=-1).max(0) + 1e-9).all()


class TestFtd:
    def test_root_mean_square_over_queries(self) -> None:
        source = tracks(line((0, 0), (0.1, 0)), line((0.5, 0), (0, 0)))
        moved = tracks(line((0, 0), (0, 0)), line((0.5, 0), (0, 0.2)))
        assert ftd(moved, source).tolist() == pytest.approx([((0.3**2 + 0.6**2) / 2) ** 0.5])
        assert ftd(source, source).tolist() == [0]

    def test_both_axes_count_alike(self) -> None:
        still = tracks(line((0, 0), (0, 0)))
        right, down = (ftd(tracks(line((0, 0), step)), still).item() for step in ((0.1, 0), (0, 0.1)))
        assert right == pytest.approx(down) == pytest.approx(0.3)

    def test_only_the_same_queries_are_compared_in_whatever_order(self) -> None:
        source = tracks(line((0, 0), (0.1, 0)), line((0.5, 0), (0, 0)))
        other = tracks(line((0.9, 0.9), (0, 0)), line((0.5, 0), (0, 0)), line((0, 0), (0.1, 0)))
        assert ftd(other, source).tolist() == [0]
        assert ftd(tracks(line((0.7, 0.7), (0, 0))), source).isnan().all(), "no query in common"

    def test_an_occluded_point_is_where_the_nearest_visible_one_is(self) -> None:
        points = np.array([[[0, 0], [1, 0], [5, 0]], [[9, 9], [1, 1], [5, 1]], [[0, 2], [1, 2], [5, 2]]], float)
        visible = np.array([[True, True, True], [False, True, True], [True, True, True]])
        filled, kept = repaired(points, visible)
        assert filled[1].tolist() == [[1, 1], [1, 1], [5, 1]] and kept.all(), "of the points of that frame, not of the frames of that point"
        assert filled[[0, 2]].tolist() == points[[0, 2]].tolist()
        dark = np.array([[True] * 3, [False] * 3, [True] * 3])
        assert repaired(points, dark)[0][1].tolist() == points[0].tolist()

    def test_a_query_that_vanishes_for_good_is_left_out(self) -> None:
        source = tracks(line((0, 0), (0, 0)), line((0.5, 0), (0, 0)))
        gone = tracks(line((0, 0), (0.3, 0)), line((0.5, 0), (0, 0.1)), hidden={0: [2, 3]})
        assert ftd(gone, source).tolist() == pytest.approx([0.3])
        assert ftd(tracks(line((0, 0), (0, 0)), hidden={0: [1, 2, 3]}), source).isnan().all()

    def test_common_frames(self) -> None:
        assert ftd(tracks(line((0, 0), (0.1, 0), 3)), tracks(line((0, 0), (0, 0), 5))).tolist() == pytest.approx([0.2])
        with pytest.raises(ValueError, match="at least 2 frames, not 1"):
            ftd(tracks(line((0, 0), (0, 0), 1)), tracks(line((0, 0), (0, 0))))


class TestChamfer:
    def test_by_hand(self) -> None:
        source = tracks(line((0, 0), (0, 0)), line((1, 0), (0, 0)))
        # The one track is 0.1, 0.2, 0.3 away from the first after the start: 0.15 on average; the second's nearest is it, 1 - 0.15 away.
        assert track_chamfer(tracks(line((0, 0), (0.1, 0))), source).tolist() == pytest.approx([(0.15 + (0.15 + 0.85) / 2) / 2])
        assert track_chamfer(source, source).tolist() == [0]

    def test_which_track_it_is_does_not_matter(self) -> None:
        source = tracks(line((0, 0), (0.1, 0)), line((1, 0), (0, 0.1)))
        assert track_chamfer(tracks(line((1, 0), (0, 0.1)), line((0, 0), (0.1, 0))), source).tolist() == [0]

    def test_unseen_frames_and_short_overlaps_do_not_count(self) -> None:
        source = tracks(line((0, 0), (0, 0)))
        assert track_chamfer(tracks(line((0, 0), (0.1, 0)), hidden={0: [2, 3]}), source).tolist() == pytest.approx([0.05])
        assert track_chamfer(tracks(line((0, 0), (0.1, 0)), hidden={0: [1, 2, 3]}), source).isnan().all()


class TestFlowError:
    def test_endpoint_error_by_hand(self) -> None:
        flow, other = torch.zeros(2, 2, 4, 4), torch.zeros(2, 2, 4, 4)
        other[0, 0], other[0, 1] = 3, 4
        assert endpoint_error(flow, other).item() == pytest.approx(2.5), "5 in one of two steps"

    def test_a_known_pan(self, pan: Pan) -> None:
        metric = FlowError()
        reference = pan((3, 0), 96, 0)
        assert metric.score(reference, reference).item() == 0
        right, still, left = (metric.score(pan(v, 96, 1), reference).item() for v in ((3, 0), (0, 0), (-3, 0)))
        assert right < 0.01 < still < left
        assert still == pytest.approx(3 / 48, rel=0.15) and left == pytest.approx(6 / 48, rel=0.15), "3 pixels of a half short side of 48"

    def test_unit_does_not_depend_on_the_aspect(self, pan: Pan) -> None:
        found = [FlowError().score(pan((0, 0), 168, 1), pan(v, 168, 0)).item() for v in ((3, 0), (0, 3))]
        assert found == pytest.approx([3 / 48] * 2, rel=0.15)

    def test_any_flow(self) -> None:
        def ramp(earlier: torch.Tensor, later: torch.Tensor) -> torch.Tensor:
            return (later - earlier)[:, :2] * 128

        frames = torch.rand(1, 3, 3, 256, 256)
        metric = FlowError(ramp)
        expected = frames[0].diff(dim=0)[:, :2].norm(dim=1).mean()
        assert metric.score(frames, torch.zeros_like(frames)).item() == pytest.approx(expected.item(), rel=1e-4)
        assert metric.protocol["flow"] == "ramp"

    def test_raft_without_weights_says_what_to_fetch(self, tmp_path: object) -> None:
        with pytest.raises(MissingWeights, match="curl"):
            FlowError(f"raft:{tmp_path}/raft_large.pth").score(torch.rand(1, 2, 3, 64, 64), torch.rand(1, 2, 3, 64, 64))
        with pytest.raises(UnknownName, match="Choices: dis, raft"):
            load_flow("farneback")


class First:
    """An encoder that sees the first pixel only."""

    name, resize, dimension = "first", "none", 3

    def images(self, frames: torch.Tensor) -> torch.Tensor:
        return frames[:, :, 0, 0]


class Last(First):
    def images(self, frames: torch.Tensor) -> torch.Tensor:
        return frames[:, :, -1, -1]


def test_subject_and_background_are_averaged() -> None:
    frames = torch.zeros(1, 3, 3, 2, 2)
    frames[0, :, 0, 0, 0] = 1  # the first pixel stays red: 1
    frames[0, 0, 0, -1, -1], frames[0, 1, 1, -1, -1], frames[0, 2, 1, -1, -1] = 1, 1, 1  # the last turns green: (0 + 0), (0 + 1), halved
    assert SubjectBackground(encoder=Last(), features=First()).score(frames).item() == pytest.approx((1 + 0.25) / 2)
    assert SubjectBackground().protocol["subject"] == SubjectBackground().protocol["background"], "the built-in network serves for both"


def test_a_real_clip_asks_for_dino(monkeypatch: pytest.MonkeyPatch, tmp_path: object) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    with pytest.raises(MissingWeights, match="dino"):
        SubjectBackground(encoder=Last())
