"""A tracker that begins anew several times in a video."""

from __future__ import annotations

import torch
from torch import Tensor

from motion_ablation.metrics.tracking.tracks import Tracker, Tracks

STARTS = 4
"""Points are chosen anew this many times per video, since objects that flicker or enter late hold none of the first frame's."""


class Restarted:
    """A tracker that begins anew at evenly spaced frames and follows each set of points for half the video.

    Objects that flicker, or that enter late, hold none of the first frame's points.

    Args:
        tracker: what follows the points. starts: how many times per video.
    """

    def __init__(self, tracker: Tracker, starts: int = STARTS) -> None:
        self.tracker, self.starts = tracker, starts
        self.name = f"{tracker.name}, {starts} starts"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Restarted) and (self.tracker, self.starts) == (other.tracker, other.starts)

    def __hash__(self) -> int:
        return hash((id(self.tracker), self.starts))

    def stretches(self, frames: int) -> list[tuple[int, int]]:
        """First and last frame of each set of points."""
        first = sorted({round(index * frames / self.starts) for index in range(self.starts)} - {frames - 1, frames}) or [0]
        return [(begin, min(frames - 1, begin + frames // 2)) for begin in first]

    def __call__(self, frames: Tensor) -> Tracks:
        """Tracks ``(b, f, 3, h, w)``; the sets lie side by side, and a point is invisible outside its own stretch."""
        total, parts = frames.shape[1], []
        for begin, last in self.stretches(total):
            found = self.tracker(frames[:, begin : last + 1])
            before = found.points[:, :1].expand(-1, begin, -1, -1)
            after = found.points[:, -1:].expand(-1, total - 1 - last, -1, -1)
            visible = found.visible.new_zeros(len(frames), total, found.visible.shape[-1])
            visible[:, begin : last + 1] = found.visible
            parts.append(Tracks(torch.cat([before, found.points, after], 1), visible))
        return Tracks(torch.cat([part.points for part in parts], 2), torch.cat([part.visible for part in parts], 2))

    def lost(self, tracks: Tracks) -> Tensor:
        """Share of each video's points, ``(b,)``, that are not followed to the end of their stretch."""
        stretches = self.stretches(tracks.points.shape[1])
        sets = tracks.visible.chunk(len(stretches), 2)
        began = torch.stack([part[:, begin] for part, (begin, _) in zip(sets, stretches, strict=True)])
        ended = torch.stack([part[:, last] for part, (_, last) in zip(sets, stretches, strict=True)])
        return 1 - (began & ended).double().sum((0, 2)) / began.double().sum((0, 2)).clamp(min=1)
