"""Dynamic degree and motion smoothness: against slow loops, on tracks of known motion, and on videos of the built-in world."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from motion_ablation.data.world.shapes import Scene, render
from motion_ablation.metrics import DynamicDegree, MotionSmoothness, Tracks, dynamic_degree, motion_smoothness
from motion_ablation.metrics.motion_smoothness import STATIC

SCENE = Scene("square", "red", "green", "moving right", start=(0.0, 0.1), radius=0.32)


def tracks_of(points: torch.Tensor) -> Tracks:
    """All visible; ``(f, n, 2)``."""
    return Tracks(points[None], torch.ones(1, *points.shape[:2], dtype=torch.bool))


def straight(frames: int, points: int, length: float) -> torch.Tensor:
    """``points`` points that travel ``length`` to the right in the clip."""
    path = torch.linspace(0, length, frames)[:, None, None] * torch.tensor([1.0, 0.0])
    return path.expand(frames, points, 2)


def random_tracks(seed: int, frames: int = 19, points: int = 30) -> Tracks:
    rng = torch.Generator().manual_seed(seed)
    steps = torch.randn(2, frames, points, 2, generator=rng) * 0.01 * torch.rand(2, 1, points, 1, generator=rng)
    return Tracks(steps.cumsum(1), torch.rand(2, frames, points, generator=rng) > 0.3)


def slow_degree(points: list, visible: list, frames: int) -> float:
    lag = max(1, round((frames - 1) / 8))
    speeds = []
    for t in range(frames - lag):
        lengths = sorted(
            (
                sum((b - a) ** 2 for a, b in zip(points[t][n], points[t + lag][n], strict=True)) ** 0.5
                for n in range(len(points[0]))
                if visible[t][n] and visible[t + lag][n]
            ),
            reverse=True,
        )
        if lengths:
            count = -(-len(lengths) // 20)
            speeds.append(sum(lengths[:count]) / count)
    return sum(speeds) / len(speeds) * (frames - 1) / lag


def slow_smoothness(points: torch.Tensor, visible: torch.Tensor) -> float:
    change = most = 0.0
    for n in range(points.shape[1]):
        for t in range(1, len(points) - 1):
            u, w = points[t, n] - points[t - 1, n], points[t + 1, n] - points[t, n]
            if visible[t - 1 : t + 2, n].all() and max(u.norm(), w.norm()) >= STATIC:
                change, most = change + float((w - u).norm()), most + float(u.norm() + w.norm())
    return 1 - change / most


@pytest.mark.parametrize("seed", range(4))
def test_equal_slow_loops(seed: int) -> None:
    tracks = random_tracks(seed)
    for index in range(2):
        points, visible = tracks.points[index], tracks.visible[index]
        assert dynamic_degree(tracks)[index].item() == pytest.approx(slow_degree(points.tolist(), visible.tolist(), 19), rel=1e-5)
        assert motion_smoothness(tracks)[index].item() == pytest.approx(slow_smoothness(points, visible), abs=1e-5)


@pytest.mark.parametrize("frames", [2, 5, 9, 16, 49])
def test_dynamic_degree_is_the_way_of_the_fastest_whatever_the_rate(frames: int) -> None:
    points = torch.cat([straight(frames, 95, 0.0), straight(frames, 5, 0.6)], 1)
    assert dynamic_degree(tracks_of(points)).item() == pytest.approx(0.6, abs=1e-5)
    half = torch.cat([straight(frames, 95, 0.2), straight(frames, 5, 0.6)], 1)
    lost = Tracks(half[None], torch.cat([torch.ones(1, frames, 95), torch.zeros(1, frames, 5)], -1).bool())
    assert dynamic_degree(lost).item() == pytest.approx(0.2, abs=1e-5)
    assert dynamic_degree(Tracks(half[None], torch.zeros(1, frames, 100).bool())).item() == 0


def test_smoothness_of_known_motion() -> None:
    frames = 40
    rng = torch.Generator().manual_seed(0)
    to_and_fro = torch.tensor([0.0, 0.1]).repeat(frames // 2)[:, None, None] * torch.ones(1, 6, 2)
    walk = (torch.randn(frames, 500, 2, generator=rng) * 0.02).cumsum(0)
    turns = torch.arange(frames) * 2 * torch.pi / 16
    circle = torch.stack([turns.cos(), turns.sin()], -1)[:, None]
    score = {name: motion_smoothness(tracks_of(points)).item() for name, points in {
        "straight": straight(frames, 6, 1.5), "static": torch.zeros(frames, 6, 2), "jumping": to_and_fro, "walk": walk, "circle": circle,
        "noisy": straight(frames, 6, 1.5) + 0.003 * torch.randn(frames, 6, 2, generator=rng),
        "below the threshold": 0.0003 * torch.randn(frames, 6, 2, generator=rng),
    }.items()}  # fmt: skip
    assert score["straight"] == pytest.approx(1, abs=1e-4) and score["static"] == score["below the threshold"] == 1
    assert score["jumping"] == pytest.approx(0, abs=1e-5) and score["walk"] == pytest.approx(0.3, abs=0.03)
    assert score["circle"] == pytest.approx(1 - torch.tensor(torch.pi / 16).sin().item(), abs=1e-4)
    assert score["walk"] < score["noisy"] < score["straight"]


def test_too_few_frames() -> None:
    with pytest.raises(ValueError, match="at least 2 frames, not 1"):
        DynamicDegree().score(torch.rand(1, 1, 3, 16, 16))
    with pytest.raises(ValueError, match="at least 3 frames, not 2"):
        MotionSmoothness().score(torch.rand(1, 2, 3, 16, 16))
    with pytest.raises(ValueError, match="static must be above 0"):
        MotionSmoothness(static=0)


def video(frames: int = 16, **changes: object) -> torch.Tensor:
    return torch.from_numpy(render(replace(SCENE, **changes), frames)[0])[None]  # type: ignore[arg-type]


def test_on_the_built_in_world() -> None:
    """A frozen video scores 0; the object's true way is found at any frame rate; shuffled frames are not smooth."""
    degree, smoothness = DynamicDegree(), MotionSmoothness()
    moving, frozen = video(), video()[:, :1].expand(1, 16, 3, 64, 64)
    assert degree.score(frozen).item() == 0 and smoothness.score(frozen).item() == 1
    for frames in (8, 16, 32):
        assert degree.score(video(frames)).item() == pytest.approx(1.0, abs=0.06)
    shaking = video(motion="standing still")
    shaking = torch.stack([frame.roll(int(2 * (t % 2)), -1) for t, frame in enumerate(shaking[0])])[None]
    assert smoothness.score(moving).item() > 0.9 > 0.2 > smoothness.score(shaking).item()


def test_lost_tracks_are_told() -> None:
    metric = DynamicDegree()
    with pytest.warns(UserWarning, match="dynamic degree: no score for 1 of 1 videos"):
        metric.update(torch.full((1, 4, 3, 32, 32), 0.5))
    assert metric.compute().isnan() and metric.protocol["lost_tracks"] == metric.protocol["withheld_videos"] == 1
    metric.reset()
    metric.update(video())
    metric.compute()
    assert 0 < float(str(metric.protocol["lost_tracks"])) < 0.8 and "lost_tracks" not in DynamicDegree().protocol
