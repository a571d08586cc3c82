"""What a tracker gives, and the one pass per video that all metrics share.

A tracker gives ``(x, y)`` in ``[-1, 1]`` of the frame's own sides, x to the right, y downwards; the frame's outer edges lie at ±1, so that
the centre of pixel ``i`` of ``w`` is at ``(2 i + 1) / w - 1``. Metrics get both axes in one unit, half the frame's short side
(:func:`track_videos`), so that a motion is as fast and as steep in a wide frame as in a square one.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from motion_ablation.metrics.memo import once_per_video
from motion_ablation.registry import Registry

TRACKERS: Registry[type[Tracker]] = Registry("tracker", "motion_ablation.metrics.tracking")


@dataclass(frozen=True)
class Tracks:
    """The paths of points through videos.

    Attributes:
        points: ``(b, f, n, 2)`` float, ``(x, y)``; a lost point stays where it was last seen.
        visible: ``(b, f, n)`` bool; whether the point is seen in the frame. A place that never holds a visible point is no track.
        extent: where the frame's right and lower edges are; its centre is at (0, 0).
    """

    points: Tensor
    visible: Tensor
    extent: tuple[float, float] = (1.0, 1.0)

    @property
    def exist(self) -> Tensor:
        """Which places hold a track, seen in one frame at least: ``(b, n)`` bool."""
        return self.visible.any(1)

    @property
    def lost(self) -> Tensor:
        """Fraction of each video's tracks that are not visible in its last frame, ``(b,)`` in ``[0, 1]``; 1 for a video without any."""
        kept = (self.visible[:, -1] & self.exist).sum(-1)
        return 1 - kept / self.exist.sum(-1).clamp(min=1)


def common_frames(generated: Tracks, source: Tracks, metric: str) -> int:
    """The number of frames that both have. Raises ``ValueError``, naming the metric, for fewer than two, which have no motion."""
    frames = min(generated.points.shape[1], source.points.shape[1])
    if frames < 2:
        raise ValueError(f"{metric} needs at least 2 frames, not {frames}")
    return frames


@runtime_checkable
class Tracker(Protocol):
    """Follows points through videos: ``(b, f, 3, h, w)`` float in ``[0, 1]`` to :class:`Tracks` with one ``n`` for the batch, its points in
    ``[-1, 1]``."""

    name: str

    def __call__(self, frames: Tensor) -> Tracks: ...


_memos: WeakKeyDictionary[Any, OrderedDict[Any, Tracks]] = WeakKeyDictionary()


def track_videos(tracker: Tracker, frames: Tensor) -> Tracks:
    """Tracks of videos; each tracker remembers its latest videos by their content, so that metrics share one tracking pass.

    Args:
        frames: ``(b, f, 3, h, w)`` float32 in ``[0, 1]``.

    Returns:
        Tracks on the frames' device, in units of half the short side.
    """
    memo = _memos.setdefault(tracker, OrderedDict())

    def track(videos: Tensor) -> list[Tracks]:
        tracks = tracker(videos)
        return [Tracks(points, visible) for points, visible in zip(tracks.points, tracks.visible, strict=True)]

    found = once_per_video(memo, frames, track)
    points, visible = (torch.stack([getattr(video, name).to(frames.device) for video in found]) for name in ("points", "visible"))
    height, width = frames.shape[-2:]
    extent = (width / min(height, width), height / min(height, width))
    return Tracks(points * points.new_tensor(extent), visible, extent)
