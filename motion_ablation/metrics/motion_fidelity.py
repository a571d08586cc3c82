"""Motion fidelity: whether the points of a video move as the reference's points do."""

from __future__ import annotations

import warnings
from collections import OrderedDict

import torch
from torch import Tensor

from motion_ablation.metrics.base import METRICS, PerSampleMetric, check_frames
from motion_ablation.metrics.features import once_per_video
from motion_ablation.metrics.trackers import Tracker, Tracks, load_tracker

STATIC = 2e-3


def motion_fidelity(generated: Tracks, source: Tracks, static: float = STATIC) -> Tensor:
    """The two-way motion fidelity of Yatim et al. 2023 (DMT), halved to ``[-1, 1]``.

    The correlation of two tracks is the mean, over the steps between frames, of the cosine of their displacements. The score is half the
    sum of two means: over generated tracks of the best correlation with a source track, and over source tracks of the best with a
    generated one. Beyond the paper's formula:

    * a displacement shorter than ``static`` has no direction: two static steps correlate 1, a static and a moving one 0;
    * only steps whose four ends are all visible count; pairs without such a step, and tracks without such a pair, are left out;
    * a video with no pair at all (all tracks lost) scores 0;
    * of videos of different lengths the common number of first frames is compared.

    Args:
        generated, source: tracks with the same ``b``; ``n`` and ``f`` may differ. static: in the units of the points.

    Returns:
        ``(b,)`` in ``[-1, 1]``.

    Raises:
        ValueError: for fewer than two common frames.
    """
    correlation, compared = track_correlations(generated, source, static)
    return 0.5 * (_mean_of_best(correlation, compared) + _mean_of_best(correlation.mT, compared.mT))


def track_correlations(generated: Tracks, source: Tracks, static: float = STATIC) -> tuple[Tensor, Tensor]:
    """Correlation of every generated with every source track, ``(b, n, m)`` in ``[-1, 1]``, and which pairs have a common step."""
    frames = min(generated.points.shape[1], source.points.shape[1])
    if frames < 2:
        raise ValueError(f"motion fidelity needs at least 2 common frames, not {frames}")
    steps, valid = _directions(generated, frames, static)
    source_steps, source_valid = _directions(source, frames, static)
    common = torch.einsum("btn,btm->bnm", valid, source_valid)
    similar = torch.einsum("btnd,btmd->bnm", steps, source_steps)
    return (similar / common.clamp(min=1)).clamp(-1, 1), common > 0


def _directions(tracks: Tracks, frames: int, static: float) -> tuple[Tensor, Tensor]:
    """Steps as unit vectors ``(b, f - 1, n, 3)``: a direction, the third axis if static, zero if not seen; and seen steps as 0/1."""
    points, visible = tracks.points[:, :frames].float(), tracks.visible[:, :frames]
    seen = visible[:, 1:] & visible[:, :-1]
    step = torch.where(seen[..., None], points[:, 1:] - points[:, :-1], 0.0)
    length = step.norm(dim=-1, keepdim=True)
    moving = length >= static
    unit = torch.where(moving, step / length.clamp(min=static), 0.0)
    valid = seen.to(points.dtype)
    return torch.cat([unit, (~moving).to(points.dtype)], -1) * valid[..., None], valid


def _mean_of_best(correlation: Tensor, compared: Tensor) -> Tensor:
    best = torch.where(compared, correlation, -2.0).amax(-1)
    kept = compared.any(-1)
    return torch.where(kept, best, 0.0).sum(-1) / kept.sum(-1).clamp(min=1)


@METRICS.register("motion_fidelity")
class MotionFidelity(PerSampleMetric):
    """Two-way correlation of the tracks of a video with its reference's, in [-1, 1]; higher is better, chance is about 0.5.

    Videos in which no track can be compared score 0; ``lost`` counts them, and a warning tells.

    Args:
        tracker: ``opencv``, ``cotracker3``, ``cotracker3:PATH`` or a ``Tracker``.
        static: steps shorter than this, in units of half the frame, count as standing still.
    """

    name = "motion_fidelity"
    reads = ("frames", "reference")
    higher_is_better = True
    range = (-1.0, 1.0)
    unit = "correlation"
    lost: Tensor

    def __init__(self, tracker: str | Tracker = "opencv", static: float = STATIC) -> None:
        super().__init__()
        if not static > 0:
            raise ValueError(f"static must be above 0, not {static}")
        self.add_state("lost", torch.zeros((), dtype=torch.long), dist_reduce_fx="sum")
        self._tracker = (load_tracker(tracker) if isinstance(tracker, str) else tracker,)
        self._memo: OrderedDict[object, Tracks] = OrderedDict()
        self.static = static

    @property
    def protocol(self) -> dict[str, object]:
        return {"tracker": self._tracker[0].name, "formula": "two-way best track correlation, halved", "static": self.static}

    def score(self, frames: Tensor, reference: Tensor) -> Tensor:
        """``(b, f, 3, h, w)`` and ``(b, f', 3, h', w')``, two frames or more, to ``(b,)``."""
        return self._compare(frames, reference)[0]

    def update(self, frames: Tensor, reference: Tensor) -> None:
        """Adds a batch of videos and their references."""
        scores, lost = self._compare(frames, reference)
        self.lost = self.lost + lost.sum().to(self.lost.device)
        self.add(scores)

    def _compare(self, frames: Tensor, reference: Tensor) -> tuple[Tensor, Tensor]:
        frames, reference = check_frames(frames), check_frames(reference, "reference")
        if len(frames) != len(reference):
            raise ValueError(f"one reference per video is needed, not {len(reference)} for {len(frames)}")
        if min(frames.shape[1], reference.shape[1]) < 2:
            raise ValueError(f"motion fidelity needs at least 2 frames, not {frames.shape[1]} and {reference.shape[1]}")
        generated, source = self.track(frames), self.track(reference)
        lost = ~track_correlations(generated, source, self.static)[1].flatten(1).any(1)
        if lost.any():
            warnings.warn(f"motion fidelity: no track to compare in {int(lost.sum())} of {len(lost)} videos; they score 0", stacklevel=3)
        return motion_fidelity(generated, source, self.static), lost

    def track(self, frames: Tensor) -> Tracks:
        """Tracks of ``(b, f, 3, h, w)`` float32 in ``[0, 1]``; the latest videos' are remembered by content, as references recur."""
        tracks = once_per_video(self._memo, frames, self._track)
        return Tracks(*(torch.stack([getattr(video, name).to(frames.device) for video in tracks]) for name in ("points", "visible")))

    def _track(self, videos: Tensor) -> list[Tracks]:
        tracks = self._tracker[0](videos)
        return [Tracks(points, visible) for points, visible in zip(tracks.points, tracks.visible, strict=True)]
