"""FTD, Fréchet trajectory distance: how far the paths of the same query points are apart, as RoPECraft measures it."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from motion_ablation.metrics.base import METRICS
from motion_ablation.metrics.track_metric import ReferenceMotionMetric
from motion_ablation.metrics.tracking.tracks import Tracks, common_frames

Array = NDArray[np.float64]
SAME = 1e-3
"""Two videos' tracks have the same query where they begin so near each other, in half short sides."""


def frechet_distance(paths: Array, others: Array) -> Array:
    """Discrete Fréchet distance of pairs of paths (Eiter & Mannila 1994): the longest leash needed to walk both from start to end.

    Args:
        paths: ``(f, n, 2)``. others: ``(f', n, 2)``.

    Returns:
        ``(n,)``, 0 or more, in the paths' unit.
    """
    apart = np.linalg.norm(paths[:, None] - others[None], axis=-1)
    leash = np.full_like(apart, np.inf)
    leash[0, 0] = apart[0, 0]
    for i in range(len(paths)):
        for j in range(len(others)):
            if i or j:
                ways = [leash[a, b] for a, b in ((i - 1, j), (i - 1, j - 1), (i, j - 1)) if a >= 0 and b >= 0]
                leash[i, j] = np.maximum(np.minimum.reduce(ways), apart[i, j])
    return leash[-1, -1]


def repaired(points: Array, visible: NDArray[np.bool_]) -> tuple[Array, NDArray[np.bool_]]:
    """RoPECraft's repair of occlusions as it is meant: an occluded point is where, in that frame, the nearest visible point is.

    Nearest to where it was in the frame before; in a frame without any visible point all stay where they were. (The released script hands
    frames and points over the wrong way round: it fills a point with the same point's place in another frame.)

    Args:
        points: ``(f, n, 2)``. visible: ``(f, n)``.

    Returns:
        Filled points of the same shape, and which tracks, ``(n,)``, do not vanish for good before the last frame.
    """
    filled = points.copy()
    for t in range(1, len(points)):
        seen, gone = np.flatnonzero(visible[t]), np.flatnonzero(~visible[t])
        if not len(seen):
            filled[t] = filled[t - 1]
        elif len(gone):
            apart = np.linalg.norm(filled[t - 1, gone][:, None] - filled[t, seen][None], axis=-1)
            filled[t, gone] = filled[t, seen[apart.argmin(1)]]
    return filled, visible[-2] | visible[-1]


def ftd(generated: Tracks, source: Tracks) -> Tensor:
    """Root mean square over query points of the Fréchet distance of their two paths.

    Tracks that begin at the same place in both videos share a query; other tracks only serve to repair occlusions, and a query that
    vanishes for good in one of the videos is left out. Of videos of different lengths the common number of first frames is compared.

    Args:
        generated, source: tracks with the same ``b``, in one unit; ``n`` and ``f`` may differ.

    Returns:
        ``(b,)``, 0 or more, in the tracks' unit; NaN where no query is left.

    Raises:
        ValueError: for fewer than two common frames.
    """
    frames = common_frames(generated, source, "ftd")
    scores = []
    for video in range(len(generated.points)):
        (mine, kept), (theirs, known) = (_of_video(tracks, video, frames) for tracks in (generated, source))
        apart = np.linalg.norm(mine[0][:, None] - theirs[0][None], axis=-1)
        same = (apart < SAME) & kept[:, None] & known[None]
        rows = np.flatnonzero(same.any(1))
        if not len(rows):
            scores.append(float("nan"))
            continue
        distances = frechet_distance(mine[:, rows], theirs[:, same[rows].argmax(1)])
        scores.append(float(np.sqrt((distances**2).mean())))
    return torch.tensor(scores, dtype=torch.float64)


def _of_video(tracks: Tracks, video: int, frames: int) -> tuple[Array, NDArray[np.bool_]]:
    visible = tracks.visible[video, :frames].cpu().numpy()
    begun = visible[0]
    points: Array = tracks.points[video, :frames].double().cpu().numpy()[:, begun]
    return repaired(points, visible[:, begun])


@METRICS.register("ftd")
class FrechetTrajectoryDistance(ReferenceMotionMetric):
    """Fréchet distance of the paths of the same query points (RoPECraft), in half short sides; lower is better, and timing counts little.

    Queries are the tracker's regular grid, over the whole frame: RoPECraft draws them half inside, half outside of an object's mask. Its
    numbers divide x by the width and y by the height; these have one unit for both axes.

    Args:
        tracker: ``opencv``, ``raft``, ``cotracker3`` (RoPECraft's), each also ``NAME:PATH`` of the weights or ``NAME:grid=55``, or a
            ``Tracker``.
    """

    name = "ftd"
    formula = (
        "root mean square over grid points of the discrete Fréchet distance of their paths; an occluded point is where the nearest visible "
        "one is; points that vanish for good left out"
    )

    def of_pair(self, generated: Tracks, source: Tracks) -> Tensor:
        return ftd(generated, source)
