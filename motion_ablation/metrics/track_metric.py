"""What the metrics of a video's tracks share: one tracking pass, what became of the tracks, and when there is no score."""

from __future__ import annotations

import warnings
from abc import abstractmethod
from typing import NamedTuple

import torch
from torch import Tensor

from motion_ablation.metrics.base import PerSampleMetric, check_frames
from motion_ablation.metrics.tracking.load import load_tracker
from motion_ablation.metrics.tracking.restarted import Restarted
from motion_ablation.metrics.tracking.tracks import Tracker, Tracks, track_videos

MOST_LOST = 0.9
"""A video whose tracks are lost by this share has no score: too little of it was judged."""
TOO_MANY_LOST = f"videos that lost {MOST_LOST:.0%} of their tracks or more have no score"
SUMS = ("gone", "still", "found", "videos", "withheld")


class Judged(NamedTuple):
    """What a batch of videos gives, each ``(b,)``.

    Attributes:
        scores: NaN where withheld. gone: share of the tracks lost before their end. found: number of tracks. still: share that never moves.
    """

    scores: Tensor
    gone: Tensor
    found: Tensor
    still: Tensor


class TrackMetric(PerSampleMetric):
    """A score of how a video's points move.

    A video that lost 90 % of its tracks or more has no score: NaN, left out of the mean; a warning and the protocol tell.

    Args:
        tracker: ``opencv``, ``raft``, ``cotracker3``, each also ``NAME:PATH`` of the weights or ``NAME:grid=55``, or a ``Tracker``.
        restarted: whether points are chosen anew four times in the clip.

    Attributes:
        formula: for the protocol. gone, still, found, videos, withheld: sums over the videos, see :class:`Judged`.
    """

    sources = ("tracker",)
    formula: str
    gone: Tensor
    still: Tensor
    found: Tensor
    videos: Tensor
    withheld: Tensor

    def __init__(self, tracker: str | Tracker = "opencv", restarted: bool = True) -> None:
        super().__init__()
        for name in SUMS:
            self.add_state(name, torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")
        plain = load_tracker(tracker) if isinstance(tracker, str) else tracker
        # Restarted trackers of one tracker are equal: one pass serves all metrics.
        self._tracker: tuple[Tracker] = (Restarted(plain) if restarted else plain,)
        self._sums: dict[str, float] = {}

    @property
    def protocol(self) -> dict[str, object]:
        """Tracker and formula; once videos are scored also the mean number of tracks and the mean share of them that was lost."""
        stated: dict[str, object] = {"tracker": self._tracker[0].name, "formula": self.formula}
        sums = self._sums or self._own_sums()
        if sums["videos"]:
            stated["tracks"] = round(sums["found"] / sums["videos"], 1)
            stated["lost_tracks"] = round(sums["gone"] / sums["videos"], 3)
            if sums["withheld"]:
                stated |= {"withheld_videos": int(sums["withheld"]), "warning": TOO_MANY_LOST}
        return stated

    @abstractmethod
    def judge(self, *videos: Tensor) -> Judged:
        """Scores and tracks of checked videos, in the order of :attr:`reads`."""

    def score(self, *videos: Tensor) -> Tensor:
        """The score of each video ``(b, f, 3, h, w)``: ``(b,)``; ``ValueError`` for too few frames."""
        return self._judge(*videos).scores

    def update(self, *videos: Tensor, **named: Tensor) -> None:
        """Adds a batch of videos."""
        judged = self._judge(*videos, *(named[name] for name in self.reads if name in named))
        sums = (judged.gone, judged.still, judged.found, torch.ones_like(judged.gone), judged.scores.isnan())
        for name, values in zip(SUMS, sums, strict=True):
            setattr(self, name, getattr(self, name) + values.double().sum().to(self.gone.device))
        self._sums = {}
        self.add(judged.scores)

    def compute(self) -> Tensor:
        """Mean score of all videos that have one, a float64 scalar."""
        self._sums = self._own_sums()  # of all processes: torchmetrics has joined them here
        return super().compute()

    def reset(self) -> None:
        """Forgets all videos."""
        super().reset()
        self._sums = {}

    def _own_sums(self) -> dict[str, float]:
        return {name: float(getattr(self, name)) for name in SUMS}

    def _judge(self, *videos: Tensor) -> Judged:
        names = ("frames", "reference")
        judged = self.judge(*(check_frames(video, name) for video, name in zip(videos, names, strict=False)))
        withheld = judged.scores.isnan()
        if withheld.any():
            message = f"{self.name.replace('_', ' ')}: no score for {int(withheld.sum())} of {len(withheld)} videos; {TOO_MANY_LOST}"
            warnings.warn(message, stacklevel=4)
        return judged

    def track(self, frames: Tensor) -> tuple[Tracks, Tensor]:
        """Tracks of videos, and the share of each video's that is lost before its end."""
        (tracker,) = self._tracker
        tracks = track_videos(tracker, frames)
        return tracks, tracker.lost(tracks) if isinstance(tracker, Restarted) else tracks.lost


class MotionMetric(TrackMetric):
    """A score of how one video's points move; subclasses give :meth:`of_tracks`.

    Attributes:
        frames_needed: a track is followed for so many frames, or it tells nothing.
    """

    reads = ("frames",)
    frames_needed: int = 2

    @abstractmethod
    def of_tracks(self, tracks: Tracks) -> Tensor:
        """The score of each video, ``(b,)``; that of a video without a track to follow is not read."""

    def judge(self, *videos: Tensor) -> Judged:
        (frames,) = videos
        if frames.shape[1] < self.frames_needed:
            raise ValueError(f"{self.name.replace('_', ' ')} needs at least {self.frames_needed} frames, not {frames.shape[1]}")
        tracks, gone = self.track(frames)
        followed = tracks.visible.unfold(1, self.frames_needed, 1).all(-1).flatten(1).any(1)
        scores = self.of_tracks(tracks).where(followed & (gone < MOST_LOST), torch.nan)
        return Judged(scores, gone, tracks.exist.sum(-1), torch.zeros_like(gone))


class ReferenceMotionMetric(TrackMetric):
    """A distance of a video's tracks from its reference's; subclasses give :meth:`of_pair`.

    The first frame's points are followed to the end. A video that lost 90 % of its tracks or more, or whose reference did, has no score.
    """

    reads = ("frames", "reference")
    higher_is_better: bool | None = False
    range = (0.0, float("inf"))
    unit = "half short sides"
    frames_needed = 2

    def __init__(self, tracker: str | Tracker = "opencv") -> None:
        super().__init__(tracker, restarted=False)

    @abstractmethod
    def of_pair(self, generated: Tracks, source: Tracks) -> Tensor:
        """The distance of each video, ``(b,)``; NaN where the two have nothing to compare."""

    def judge(self, *videos: Tensor) -> Judged:
        """Of ``(b, f, 3, h, w)`` and ``(b, f', 3, h', w')``, two frames or more."""
        frames, reference = videos
        if min(frames.shape[1], reference.shape[1]) < 2:
            raise ValueError(f"{self.name.replace('_', ' ')} needs at least 2 frames, not {frames.shape[1]} and {reference.shape[1]}")
        (generated, gone), (source, missing) = self.track(frames), self.track(reference)
        scores = self.of_pair(generated, source).to(gone.device)
        enough = (gone < MOST_LOST) & (missing < MOST_LOST)
        return Judged(scores.where(enough, torch.nan), gone, generated.exist.sum(-1), torch.zeros_like(gone))
