"""Track Chamfer distance: how far each track of one video is from the nearest track of the other."""

from __future__ import annotations

import torch
from torch import Tensor

from motion_ablation.metrics.base import METRICS
from motion_ablation.metrics.track_metric import ReferenceMotionMetric
from motion_ablation.metrics.tracking.tracks import Tracks, common_frames


def track_chamfer(generated: Tracks, source: Tracks) -> Tensor:
    """Chamfer distance of two sets of tracks, both ways, halved.

    The distance of two tracks is the mean, over the frames in which both are seen, of the distance of their points; pairs that share fewer
    than half of the frames are no pairs. Of videos of different lengths the common number of first frames is compared.

    Args:
        generated, source: tracks with the same ``b``, in one unit; ``n`` and ``f`` may differ.

    Returns:
        ``(b,)``, 0 or more, in the tracks' unit; NaN where there is no pair.

    Raises:
        ValueError: for fewer than two common frames.
    """
    frames = common_frames(generated, source, "track chamfer")
    mine, theirs = (tracks.visible[:, :frames].double() for tracks in (generated, source))
    shared = torch.einsum("btn,btm->bnm", mine, theirs)
    total = torch.zeros_like(shared)
    for t in range(frames):  # one frame at a time: all at once is (b, f, n, m)
        apart = torch.cdist(generated.points[:, t].double(), source.points[:, t].double())
        total += apart * mine[:, t, :, None] * theirs[:, t, None, :]
    apart = (total / shared.clamp(min=1)).where(2 * shared >= frames, torch.inf)
    return (_mean_of_nearest(apart) + _mean_of_nearest(apart.mT)) / 2


def _mean_of_nearest(apart: Tensor) -> Tensor:
    nearest = apart.amin(-1)
    known = nearest.isfinite()
    return nearest.where(known, 0.0).sum(-1) / known.sum(-1)


@METRICS.register("track_chamfer")
class TrackChamfer(ReferenceMotionMetric):
    """Distance of each track from the other video's nearest track, both ways, in half short sides; lower is better.

    Tracks are compared where they are, so that a motion elsewhere in the frame is another; which point moves is not asked.

    Args:
        tracker: ``opencv``, ``raft``, ``cotracker3``, each also ``NAME:PATH`` of the weights or ``NAME:grid=55``, or a ``Tracker``.
    """

    name = "track_chamfer"
    formula = "mean over tracks of the mean distance, over common frames, from the nearest track of the other video; both ways, halved"

    def of_pair(self, generated: Tracks, source: Tracks) -> Tensor:
        return track_chamfer(generated, source)
