"""What a tracker gives, and the one pass per video that all metrics share.

Coordinates are ``(x, y)`` in ``[-1, 1]``, x to the right, y downwards; the frame's outer edges lie at ±1, so that the
centre of pixel ``i`` of ``w`` is at ``(2 i + 1) / w - 1``. Tracks of videos of different sizes can be compared.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from motion_ablation.metrics.memo import once_per_video


@dataclass(frozen=True)
class Tracks:
    """The paths of points through videos.

    Attributes:
        points: ``(b, f, n, 2)`` float, ``(x, y)`` in ``[-1, 1]``; a lost point stays where it was last seen.
        visible: ``(b, f, n)`` bool; whether the point is seen in the frame.
    """

    points: Tensor
    visible: Tensor

    @property
    def lost(self) -> Tensor:
        """Fraction of each video's tracks that are not visible in its last frame, ``(b,)`` in ``[0, 1]``.

        Places that never held a visible point are no tracks; a video without any track has lost all.
        """
        began = self.visible.any(1)
        kept = (self.visible[:, -1] & began).sum(-1)
        return 1 - kept / began.sum(-1).clamp(min=1)


@runtime_checkable
class Tracker(Protocol):
    """Follows points through videos: ``(b, f, 3, h, w)`` float in ``[0, 1]`` to :class:`Tracks` with one ``n`` for the batch."""

    name: str

    def __call__(self, frames: Tensor) -> Tracks: ...


_memos: WeakKeyDictionary[Any, OrderedDict[Any, Tracks]] = WeakKeyDictionary()


def track_videos(tracker: Tracker, frames: Tensor) -> Tracks:
    """Tracks of videos; each tracker remembers its latest videos by their content, so that metrics share one tracking pass.

    Args:
        frames: ``(b, f, 3, h, w)`` float32 in ``[0, 1]``.

    Returns:
        Tracks on the frames' device.
    """
    memo = _memos.setdefault(tracker, OrderedDict())

    def track(videos: Tensor) -> list[Tracks]:
        tracks = tracker(videos)
        return [Tracks(points, visible) for points, visible in zip(tracks.points, tracks.visible, strict=True)]

    found = once_per_video(memo, frames, track)
    points, visible = (torch.stack([getattr(video, name).to(frames.device) for video in found]) for name in ("points", "visible"))
    return Tracks(points, visible)
