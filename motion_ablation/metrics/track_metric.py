"""What the metrics of a video's own tracks share."""

from __future__ import annotations

import warnings
from abc import abstractmethod

import torch
from torch import Tensor

from motion_ablation.metrics.base import PerSampleMetric, check_frames
from motion_ablation.metrics.tracking.restarted import Restarted
from motion_ablation.metrics.tracking.trackers import load_tracker
from motion_ablation.metrics.tracking.tracks import Tracker, Tracks, track_videos


class TrackMetric(PerSampleMetric):
    """A score of how a video's points move; subclasses give :meth:`of_tracks`.

    A video in which no track can be followed has no evidence of motion: it scores 0, and a warning tells.

    Args:
        tracker: ``opencv``, ``raft``, ``cotracker3``, a name with ``:PATH`` of the weights, or a ``Tracker``.

    Attributes:
        frames_needed: a track is followed for so many frames, or it tells nothing. formula: for the protocol.
        lost: sum over the videos of the fraction of their tracks that was lost before its end.
    """

    reads = ("frames",)
    sources = ("tracker",)
    frames_needed: int = 2
    formula: str
    lost: Tensor

    def __init__(self, tracker: str | Tracker = "opencv") -> None:
        super().__init__()
        self.add_state("lost", torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")
        # The same tracks as motion fidelity's: one pass serves all.
        self._tracker = (Restarted(load_tracker(tracker) if isinstance(tracker, str) else tracker),)
        self._lost_share: float | None = None

    @property
    def protocol(self) -> dict[str, object]:
        """Tracker and formula; after ``compute`` also the mean fraction of tracks that were lost before their end."""
        stated: dict[str, object] = {"tracker": self._tracker[0].name, "formula": self.formula}
        if self._lost_share is not None:
            stated["lost_tracks"] = self._lost_share
        return stated

    @abstractmethod
    def of_tracks(self, tracks: Tracks) -> Tensor:
        """The score of each video, ``(b,)``; that of a video without a track to follow is not read."""

    def score(self, frames: Tensor) -> Tensor:
        """``(b, f, 3, h, w)`` to ``(b,)``; ``ValueError`` for too few frames."""
        return self._measure(frames)[0]

    def update(self, frames: Tensor) -> None:
        """Adds a batch of videos."""
        scores, tracks = self._measure(frames)
        self.lost = self.lost + self._tracker[0].lost(tracks).double().sum().to(self.lost.device)
        self.add(scores)

    def compute(self) -> Tensor:
        """Mean score of all videos, a float64 scalar."""
        self._lost_share = float(self.lost / self.count) if self.count else None
        return super().compute()

    def _measure(self, frames: Tensor) -> tuple[Tensor, Tracks]:
        frames = check_frames(frames)
        if frames.shape[1] < self.frames_needed:
            raise ValueError(f"{self.name.replace('_', ' ')} needs at least {self.frames_needed} frames, not {frames.shape[1]}")
        tracks = track_videos(self._tracker[0], frames)
        followed = tracks.visible.unfold(1, self.frames_needed, 1).all(-1).flatten(1).any(1)
        if not followed.all():
            few = f"{int((~followed).sum())} of {len(followed)}"
            warnings.warn(f"{self.name.replace('_', ' ')}: no track to follow in {few} videos; they score 0", stacklevel=4)
        return torch.where(followed, self.of_tracks(tracks), 0.0), tracks
