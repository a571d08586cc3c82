"""What all trackers share, and RAFT: chained flows of known motion, and torchvision's network with random weights."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torchvision.models.optical_flow import raft_small

from motion_ablation.data.world.shapes import Scene, render
from motion_ablation.metrics import RaftTracker, Tracks, load_tracker, track_videos
from motion_ablation.metrics.tracking.raft import FlowFunction, chain_flows
from motion_ablation.registry import UnknownName
from motion_ablation.weights import MissingWeights


class Counting:
    """A tracker whose points say which video they came from; it counts the videos that it tracks."""

    name = "counting"

    def __init__(self) -> None:
        self.calls: list[int] = []

    def __call__(self, frames: torch.Tensor) -> Tracks:
        self.calls.append(len(frames))
        points = frames.mean((2, 3, 4))[..., None, None].expand(-1, -1, 3, 2)
        return Tracks(points, points[..., 0] > 0.5)


def test_videos_are_tracked_once_per_tracker() -> None:
    frames, tracker = torch.rand(3, 4, 3, 8, 8), Counting()
    first = track_videos(tracker, frames)
    direct = Counting()(frames)
    assert torch.equal(first.points, direct.points) and torch.equal(first.visible, direct.visible)
    again = track_videos(tracker, frames.flip(0).clone())
    assert torch.equal(again.points, first.points.flip(0)) and tracker.calls == [3]
    frames[1] *= 0.5
    assert torch.equal(track_videos(tracker, frames).points, Counting()(frames).points) and tracker.calls == [3, 1]
    track_videos(Counting(), frames)
    assert tracker.calls == [3, 1]


def test_lost_is_what_is_not_seen_at_the_end() -> None:
    visible = torch.tensor([[[1, 1, 1, 0], [1, 0, 1, 0], [1, 0, 0, 0]], [[0, 0, 0, 0]] * 3, [[1, 1, 1, 1]] * 3]).bool()
    tracks = Tracks(torch.zeros(3, 3, 4, 2), visible)
    assert tracks.lost.tolist() == pytest.approx([2 / 3, 1, 0])
    assert Tracks(torch.zeros(1, 3, 0, 2), torch.zeros(1, 3, 0).bool()).lost.tolist() == [1]


def test_options_by_name() -> None:
    """``NAME:option=number``: points per side, say; they are part of the tracker's name in protocols, and of its pass."""
    tracker = load_tracker("opencv:grid=5,corners=0")
    assert tracker(torch.rand(1, 2, 3, 24, 40)).points.shape == (1, 2, 25, 2) and tracker.name == "opencv, grid 5, corners 0"
    assert load_tracker("opencv:grid=5,corners=0") is tracker and load_tracker("opencv").name == "opencv, grid 12, corners 48"
    raft = load_tracker("raft:~/a,b=c/raft_small.pth,grid=9")
    assert isinstance(raft, RaftTracker) and raft.grid == 9 and str(raft.path).endswith("/a,b=c/raft_small.pth")
    assert load_tracker("cotracker3:grid=30").name == "cotracker3, grid 30"
    with pytest.raises(UnknownName, match="tracker 'opencv' has no option 'gird'. Options: grid, corners"):
        load_tracker("opencv:gird=5")
    for wrong in ("opencv:weights.pth", "opencv:grid=many", "opencvv:grid=5"):
        with pytest.raises(UnknownName, match=f"unknown tracker '{wrong}'. Write, for example, opencv,"):
            load_tracker(wrong)


def shift(x: float, y: float) -> FlowFunction:
    """The flow of frames that move by ``(x, y)`` pixels a step; backwards it moves back. Frame t of the test's videos is as bright as t."""

    def flow(earlier: torch.Tensor, later: torch.Tensor) -> torch.Tensor:
        sign = (later.mean((1, 2, 3)) - earlier.mean((1, 2, 3))).sign()
        return sign[:, None, None, None] * torch.tensor([x, y])[None, :, None, None].expand(len(earlier), 2, *earlier.shape[-2:])

    return flow


def brighter(frames: int, height: int = 128, width: int = 192) -> torch.Tensor:
    return (torch.arange(frames) / 40)[None, :, None, None, None].expand(1, frames, 3, height, width)


def test_raft_chains_a_constant_flow_exactly() -> None:
    tracks = RaftTracker(shift(3.0, -2.0), grid=6, size=128)(brighter(11))
    step = torch.tensor([3 * 2 / 192, -2 * 2 / 128])
    expected = tracks.points[0, 0] + torch.arange(11)[:, None, None] * step
    inside = (expected.abs() <= 1).all(-1)
    assert torch.equal(tracks.visible[0], inside) and not inside[-1].all()
    assert torch.allclose(tracks.points[0][inside], expected[inside], atol=1e-5)
    assert tracks.points[0, 0, :2].tolist() == [pytest.approx([-5 / 6, -5 / 6]), pytest.approx([-0.5, -5 / 6])]
    assert tracks.lost.item() == pytest.approx(1 - inside[-1].float().mean().item())


def test_raft_samples_a_varying_flow_bilinearly() -> None:
    """A zoom is linear in place, so that bilinear sampling is exact and every point's path is a power."""
    place = torch.arange(128.0) - 63.5
    zoom = torch.stack(torch.meshgrid(place, place, indexing="ij")[::-1])
    points = torch.tensor([[0.1, -0.2], [-0.3, 0.05], [0.0, 0.0]])
    tracks = chain_flows(points, (0.1 * zoom).expand(5, 2, 128, 128), (-0.1 / 1.1 * zoom).expand(5, 2, 128, 128))
    assert tracks.visible.all()
    for t in range(6):
        assert torch.allclose(tracks.points[0, t], points * 1.1**t, atol=1e-5)


def test_raft_loses_points_where_the_flow_does_not_return() -> None:
    forward, backward = torch.full((3, 2, 128, 128), 2.0), torch.full((3, 2, 128, 128), -2.0)
    backward[1, :, :, :64] = 2.0
    tracks = chain_flows(torch.tensor([[-0.5, 0.0], [0.5, 0.0]]), forward, backward)
    assert tracks.visible[0].tolist() == [[True, True], [True, True], [False, True], [False, True]]
    assert torch.equal(tracks.points[0, 3, 0], tracks.points[0, 1, 0]) and tracks.lost.item() == 0.5


@pytest.mark.parametrize(("shape", "resized"), [
    ((64, 64), (256, 256)), ((64, 100), (256, 400)), ((320, 576), (320, 576)), ((330, 570), (328, 568)), ((1080, 1920), (576, 1024)),
])  # fmt: skip
def test_raft_resizes_to_multiples_of_eight(shape: tuple[int, int], resized: tuple[int, int]) -> None:
    sizes = []

    def flow(earlier: torch.Tensor, later: torch.Tensor) -> torch.Tensor:
        sizes.append(tuple(earlier.shape[-2:]))
        return torch.zeros_like(earlier[:, :2])

    tracks = RaftTracker(flow, grid=2)(torch.rand(1, 2, 3, *shape))
    assert sizes == [resized] * 2 and tracks.visible.all() and tracks.points.shape == (1, 2, 4, 2)


def test_raft_runs_torchvision_s_network(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = raft_small(weights=None).eval()
    torch.save(network.state_dict(), tmp_path / "small.pth")
    video = torch.rand(1, 3, 3, 128, 136)
    tracker = RaftTracker(tmp_path / "small.pth", grid=4, size=128, updates=2)
    tracks = tracker(video)
    with torch.no_grad():
        there = network(2 * video[0, :-1] - 1, 2 * video[0, 1:] - 1, num_flow_updates=2)[-1]
        back = network(2 * video[0, 1:] - 1, 2 * video[0, :-1] - 1, num_flow_updates=2)[-1]
    expected = chain_flows(tracks.points[0, 0], there, back)
    assert torch.allclose(tracks.points, expected.points, atol=1e-4) and torch.equal(tracks.visible, expected.visible)
    assert isinstance(load_tracker(f"raft:{tmp_path}/small.pth"), RaftTracker) and "small.pth" in tracker.name
    torch.save({"weight": torch.ones(1)}, tmp_path / "other.pth")
    with pytest.raises(ValueError, match="no weights of torchvision's"):
        RaftTracker(tmp_path / "other.pth")(video)


def test_missing_raft_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    for tracker in (RaftTracker(), RaftTracker(tmp_path / "raft_small.pth")):
        with pytest.raises(MissingWeights, match="curl --create-dirs -o .*download.pytorch.org/models/raft_") as caught:
            tracker(torch.rand(1, 2, 3, 128, 128))
        assert "\n" not in str(caught.value)
    with pytest.raises(ValueError, match="size >= 128"):
        RaftTracker(size=64)


def test_one_frame_and_unknown_names() -> None:
    tracks = RaftTracker(shift(1.0, 1.0), grid=3)(torch.rand(2, 1, 3, 64, 64))
    assert tracks.points.shape == (2, 1, 9, 2) and tracks.visible.all()
    with pytest.raises(UnknownName, match="raft:PATH"):
        load_tracker("rafft")


def test_chained_flow_follows_the_true_object() -> None:
    """Any dense flow does, here OpenCV's: points inside a moving object end where the object's true motion takes them."""
    import cv2

    def flow(earlier: torch.Tensor, later: torch.Tensor) -> torch.Tensor:
        network = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
        gray = [[cv2.cvtColor((x * 255).byte().permute(1, 2, 0).numpy(), cv2.COLOR_RGB2GRAY) for x in side] for side in (earlier, later)]
        return torch.stack([torch.from_numpy(network.calc(a, b, None)).permute(2, 0, 1) for a, b in zip(*gray, strict=True)])

    scene = Scene("circle", "white", "blue", "moving right", start=(-0.1, 0.0), radius=0.35)
    frames, truth = render(scene, 12)
    tracks = RaftTracker(flow, grid=16)(torch.from_numpy(frames)[None])
    way = torch.from_numpy(truth.center - truth.center[:1])
    start = tracks.points[0, 0]
    inside = (start - torch.from_numpy(truth.center[0])).norm(dim=-1) < 0.3
    error = (tracks.points[0] - start - way[:, None]).norm(dim=-1)
    kept = tracks.visible[0, -1] & inside
    assert kept.sum() >= 0.6 * inside.sum() > 5 and error[-1, kept].median() < 0.05 and way[-1].norm() > 0.8
