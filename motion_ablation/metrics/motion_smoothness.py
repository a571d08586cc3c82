"""Motion smoothness: whether points glide or jump."""

from __future__ import annotations

import torch
from torch import Tensor

from motion_ablation.metrics.base import METRICS
from motion_ablation.metrics.track_metric import MotionMetric
from motion_ablation.metrics.tracking.tracks import Tracker, Tracks

STATIC = 2e-3


def motion_smoothness(tracks: Tracks, static: float = STATIC) -> Tensor:
    """One minus the points' change of velocity, relative to the most that their speeds allow.

    ``1 - Σ|u' - u| / Σ(|u'| + |u|)`` over all tracks and all pairs of consecutive displacements u, u' whose three ends are seen, and of
    which at least one is not shorter than ``static``.

    Returns:
        ``(b,)`` in ``[0, 1]``: 1 for steady straight motion and where nothing moves, about 0.3 for a random walk, 0 for points that jump
        to and fro or stand still at every other frame. A turn of angle a per frame costs ``sin(a / 2)``, so that a curve sampled more
        finely scores higher.

    Raises:
        ValueError: for fewer than three frames.
    """
    if tracks.points.shape[1] < 3:
        raise ValueError(f"motion smoothness needs at least 3 frames, not {tracks.points.shape[1]}")
    points, visible = tracks.points.float(), tracks.visible
    seen = visible[:, 2:] & visible[:, 1:-1] & visible[:, :-2]
    step = points[:, 1:] - points[:, :-1]
    length = step.norm(dim=-1)
    before, after = length[:, :-1], length[:, 1:]
    counted = seen & (torch.maximum(before, after) >= static)
    change, most = (
        torch.where(counted, value, 0.0).flatten(1).sum(1) for value in ((step[:, 1:] - step[:, :-1]).norm(dim=-1), before + after)
    )
    return torch.where(most > 0, 1 - change / most.clamp(min=static), 1.0).clamp(0, 1)


@METRICS.register("motion_smoothness")
class MotionSmoothness(MotionMetric):
    """One minus the relative change of velocity of a video's tracks, in [0, 1]; higher is better, but a frozen video scores 1.

    Compare at one frame rate, and read it beside ``dynamic_degree``. (VBench asks a frame interpolation network instead.)
    A video that lost 90 % of its tracks or more has no score.

    Args:
        tracker: ``opencv``, ``raft``, ``cotracker3``, each also ``NAME:PATH`` of the weights or ``NAME:grid=55``, or a ``Tracker``.
        static: two steps that are both shorter than this, in half short sides, count as standing still.
    """

    name = "motion_smoothness"
    higher_is_better = True
    compared = False
    range = (0.0, 1.0)
    unit = "share of steady velocity"
    frames_needed = 3
    formula = "1 - sum |u' - u| / sum (|u'| + |u|) over consecutive displacements of tracks"

    def __init__(self, tracker: str | Tracker = "opencv", static: float = STATIC) -> None:
        super().__init__(tracker)
        if not static > 0:
            raise ValueError(f"static must be above 0, not {static}")
        self.static = static

    @property
    def protocol(self) -> dict[str, object]:
        return {**super().protocol, "static": self.static}

    def of_tracks(self, tracks: Tracks) -> Tensor:
        return motion_smoothness(tracks, self.static)
