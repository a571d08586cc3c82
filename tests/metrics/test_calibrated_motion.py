"""Calibrated motion fidelity on synthetic tracks of known motion, where the literature's formula fails, and on drawn videos."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from motion_ablation.data.world.shapes import Scene, render
from motion_ablation.evaluation.calibration.cases import CASES, Case
from motion_ablation.metrics import MotionFidelity, OpenCVTracker, Tracks, motion_fidelity
from motion_ablation.metrics.calibrated_motion import GRID, calibrated_motion_fidelity, motions
from motion_ablation.metrics.tracking.camera import camera_motion, moved
from motion_ablation.metrics.tracking.restarted import Restarted

SIDE = np.linspace(-0.95, 0.95, 15)
PLACES = np.stack(np.meshgrid(SIDE, SIDE), -1).reshape(-1, 2)


def score(generated: Tracks, source: Tracks) -> float:
    return calibrated_motion_fidelity(generated, source)[0].score


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_orders_what_the_usual_formula_cannot(case: Case) -> None:
    """Every pair of same and other motion of the documented cases, by synthetic tracks without any tracker."""
    same, other = score(case.same, case.reference), score(case.other, case.reference)
    assert same > 0.9 and other < case.most and same - other > 0.4


def test_the_usual_formula_fails_on_the_documented_cases() -> None:
    """What makes the calibrated protocol necessary: zoom-in against zoom-out is nearly perfect by the two-way formula."""
    by_name = {case.name: case for case in CASES}
    assert motion_fidelity(by_name["zoom in or out"].other, by_name["zoom in or out"].reference).item() > 0.95


@settings(max_examples=15, deadline=None)
@given(st.floats(-0.6, 0.6), st.floats(0.6, 1.6), st.floats(-0.3, 0.3), st.integers(0, 1000))
def test_camera_is_found_under_outliers(turn: float, zoom: float, pan: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    cos, sin = zoom * np.cos(turn), zoom * np.sin(turn)
    true = np.array([[cos, -sin, pan], [sin, cos, -pan], [0.02, -0.01, 1]])
    end = moved(true, PLACES) + rng.normal(0, 0.001, PLACES.shape)
    wrong = rng.random(len(PLACES)) < 0.3
    end[wrong] += rng.uniform(-0.5, 0.5, (int(wrong.sum()), 2))
    assert np.abs(moved(camera_motion(PLACES, end), GRID) - moved(true, GRID)).max() < 0.03


def test_an_object_is_no_camera() -> None:
    """Where only the object has texture, all tracks are its own; they cover too little of the frame."""
    tracked = PLACES[np.abs(PLACES).max(1) < 0.35]
    assert np.array_equal(camera_motion(tracked, tracked + 0.1), np.eye(3))
    assert np.array_equal(camera_motion(PLACES[:5], PLACES[:5] + 0.1), np.eye(3))


@settings(max_examples=5, deadline=None)
@given(st.integers(0, 10**6), st.integers(2, 6), st.integers(10, 30))
def test_symmetric_bounded_and_one_with_itself(seed: int, frames: int, points: int) -> None:
    rng = torch.Generator().manual_seed(seed)
    mine, theirs = (
        Tracks(torch.rand(1, 1, points, 2, generator=rng) * 2 - 1 + torch.randn(1, frames, points, 2, generator=rng).cumsum(1) * 0.05,
               torch.rand(1, frames, points, generator=rng) > 0.1)
        for _ in range(2)
    )  # fmt: skip
    there, back = calibrated_motion_fidelity(mine, theirs)[0], calibrated_motion_fidelity(theirs, mine)[0]
    assert there.score == pytest.approx(back.score, abs=1e-9) and abs(there.score) <= 1
    own = calibrated_motion_fidelity(mine, mine)[0]
    assert own.score == pytest.approx(1) if own.compared else own.score == 0


def test_speed_direction_and_delay_lower_the_score_step_by_step() -> None:
    case = next(case for case in CASES if case.name == "object under a static camera")
    start = case.reference.points[:, :1]
    path = case.reference.points - start

    def at(speed: float = 1.0, turn: float = 0.0) -> float:
        c, s = np.cos(turn), np.sin(turn)
        return score(
            replace(case.reference, points=start + speed * path @ torch.tensor([[c, s], [-s, c]], dtype=path.dtype)), case.reference
        )

    slower = [at(speed) for speed in (1, 0.75, 0.5, 0.25, 0)]
    turned = [at(turn=angle) for angle in np.linspace(0, np.pi, 7)]
    assert slower == sorted(slower, reverse=True) and slower[0] > 0.99 and abs(slower[-1]) < 0.05
    assert turned == sorted(turned, reverse=True) and turned[-1] < -0.6


def test_a_spin_agrees_where_other_points_of_it_are_tracked() -> None:
    """The same rotation of two objects that share no tracked point, and the opposite one."""
    rng = np.random.default_rng(0)

    def spinning(angle: float, seed: int) -> Tracks:
        background = np.random.default_rng(seed).uniform(-1, 1, (200, 2))
        on_object = rng.uniform(-0.35, 0.35, (12, 2))
        points = []
        for t in np.linspace(0, angle, 16):
            turn = np.array([[np.cos(t), np.sin(t)], [-np.sin(t), np.cos(t)]])
            points.append(np.concatenate([background[np.abs(background).max(1) > 0.5], on_object @ turn]))
        found = torch.from_numpy(np.stack(points))[None]
        return Tracks(found, torch.ones(found.shape[:3], dtype=torch.bool))

    reference = spinning(4.7, 1)
    assert score(spinning(4.7, 2), reference) > 0.9 and score(spinning(0, 3), reference) < 0.1
    assert score(spinning(1.5, 2), spinning(1.5, 1)) > 0.9 and score(spinning(-1.5, 4), spinning(1.5, 1)) < -0.6
    # Seen from its ends, a turn by more than a quarter of a circle is nearer to the opposite turn than to its contrary.
    assert score(spinning(-4.7, 4), reference) < 0.5


@pytest.mark.parametrize("shape", ["square", "triangle", "star"])
def test_a_spin_is_seen_in_another_shape(shape: str) -> None:
    def video(motion: str, shape: str, color: str) -> torch.Tensor:
        scene = Scene(shape, color, "green" if color == "yellow" else "cyan", motion=motion, radius=0.4, start=(0.1, 0.0))
        return torch.from_numpy(render(scene, 16)[0])[None]

    metric, reference = MotionFidelity(), video("spinning", "square", "yellow")
    assert metric.score(video("spinning", shape, "red"), reference).item() > 0.3
    assert abs(metric.score(video("standing still", shape, "red"), reference).item()) < 0.1
    assert metric.score(video("spinning", shape, "red").flip(1), reference).item() < -0.2


def test_static_tracks_are_reported() -> None:
    case = next(case for case in CASES if case.name == "object under a static camera")
    moving = (case.reference.points[0].diff(dim=0).norm(dim=-1).sum(0) > 0.1).double().mean().item()
    found = motions(case.reference, case.reference.points.shape[1])[0]
    assert found.static == pytest.approx(1 - moving, abs=0.02)


def test_restarted_tracker_sees_objects_that_enter_late() -> None:
    scene = Scene("square", "red", "green", "moving right", start=(0.0, 0.1), radius=0.32)
    frames = torch.from_numpy(render(scene, 12)[0])[None]
    frames[:, :4] = torch.from_numpy(render(replace(scene, radius=1e-3), 12)[0])[:4]  # nothing there for four frames
    tracker = Restarted(OpenCVTracker())
    tracks = tracker(frames)
    assert tracks.points.shape[2] == 4 * OpenCVTracker()(frames[:, :2]).points.shape[2]
    assert not tracks.visible[:, 0, tracks.points.shape[2] // 4 :].any()
    assert all(0 <= share <= 1 for share in tracker.lost(tracks))
    whole = torch.from_numpy(render(scene, 12)[0])[None]
    late, opposite = MotionFidelity(), torch.from_numpy(render(replace(scene, motion="moving left"), 12)[0])[None]
    assert late.score(frames, whole).item() > 0.3 > 0 > late.score(opposite, whole).item()


@pytest.mark.parametrize("frames", [2, 3])
def test_two_and_three_frames(frames: int) -> None:
    scene = Scene("star", "red", "white", "moving right", radius=0.35, travel=0.3)
    video = torch.from_numpy(render(scene, frames)[0])[None]
    assert MotionFidelity().score(video, video).item() == pytest.approx(1)
    with pytest.raises(ValueError, match="at least 2 frames"):
        MotionFidelity().score(video[:, :1], video[:, :1])
