"""What all trackers share: one pass per video, and the fraction of lost tracks."""

from __future__ import annotations

import pytest
import torch

from motion_ablation.metrics import Tracks, track_videos


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
