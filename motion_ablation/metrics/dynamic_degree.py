"""Dynamic degree: how much moves in a video, so that a frozen one cannot pass for a consistent one."""

from __future__ import annotations

import torch
from torch import Tensor

from motion_ablation.metrics.base import METRICS
from motion_ablation.metrics.track_metric import MotionMetric
from motion_ablation.metrics.tracking.tracks import Tracks

FASTEST = 0.05
SHARE = 1 / 8


def dynamic_degree(tracks: Tracks) -> Tensor:
    """How far the fastest points travel in the clip, in half short sides.

    The mean, over all starts, of the displacement across an eighth of the clip (at least one step) of the fastest 5 % of the points that
    are seen at both ends of it; scaled to the whole clip. A clip sampled at another rate gives about the same number, as both the stretch
    and the unit are shares of the clip, and the stretch keeps the jitter of single frames from adding up. The 5 % are VBench's (Huang et
    al. 2024), which takes them of RAFT's flow between consecutive frames, in pixels, and only asks whether they exceed a threshold.

    Returns:
        ``(b,)``, 0 or more; 0 where nothing moves, or nothing is seen twice.

    Raises:
        ValueError: for fewer than two frames.
    """
    frames = tracks.points.shape[1]
    if frames < 2:
        raise ValueError(f"dynamic degree needs at least 2 frames, not {frames}")
    lag = max(1, round((frames - 1) * SHARE))
    seen = tracks.visible[:, lag:] & tracks.visible[:, :-lag]
    length = (tracks.points[:, lag:] - tracks.points[:, :-lag]).float().norm(dim=-1)
    length = torch.where(seen, length, -1.0).sort(-1, descending=True).values
    count = (seen.sum(-1) * FASTEST).ceil()
    fastest = torch.arange(length.shape[-1], device=length.device) < count[..., None]
    speed = torch.where(fastest, length, 0.0).sum(-1) / count.clamp(min=1)
    starts = (count > 0).sum(-1).clamp(min=1)
    return speed.sum(-1) / starts * (frames - 1) / lag


@METRICS.register("dynamic_degree")
class DynamicDegree(MotionMetric):
    """How far the fastest 5 % of a video's points travel in the clip, in half short sides, from 0 up; a frozen video scores 0.

    More is not better by itself: compare with the reference's own. A video that lost 90 % of its tracks or more has no score.

    Args:
        tracker: ``opencv``, ``raft``, ``cotracker3``, each also ``NAME:PATH`` of the weights or ``NAME:grid=55``, or a ``Tracker``.
    """

    name = "dynamic_degree"
    higher_is_better = None
    range = (0.0, float("inf"))
    unit = "half short sides per clip"
    formula = "mean displacement across 1/8 of the clip of the fastest 5 % of visible points, scaled to the clip"

    def of_tracks(self, tracks: Tracks) -> Tensor:
        return dynamic_degree(tracks)
