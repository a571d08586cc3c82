"""Calibrated motion fidelity: agreement of two videos' motion in direction, speed and place, camera and objects apart."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from motion_ablation.metrics.tracking.camera import LEAST, TRIALS, camera_motion, moved
from motion_ablation.metrics.tracking.tracks import Tracks, common_frames

Array = NDArray[np.float64]

STATIC = 0.02
"""Displacements below this, in half short sides, are tracking noise: 0.6 pixels of a frame of 64."""
REACH = 0.5
"""How far apart, in half short sides, motions may be and still count as at one place: the width of a Gaussian."""
FEWEST = 3
"""Fewer moving tracks than this at one moment are taken for tracking errors."""
MOST, TOGETHER = 0.6, 0.02
"""An object turns and grows as one if this share of its tracks does, to this many half short sides."""
LAGS = (1 / 8, 1 / 4, 1 / 2)
"""Displacements are taken across these shares of the video."""
_SIDE = np.linspace(-0.9, 0.9, 6)
GRID: Array = np.stack(np.meshgrid(_SIDE, _SIDE), -1).reshape(-1, 2)
"""Places at which camera motions are compared: in the square in the middle, which every frame has."""


@dataclass(frozen=True)
class Moment:
    """The motion between two frames of a video.

    Attributes:
        known: whether there are enough tracks to tell. weight: so that each length of displacement counts the same.
        camera: ``(g, 2)``, displacement of :data:`GRID` by the camera. places, steps: ``(n, 2)``, where the tracks that move by themselves
            are, and their displacements beyond the camera's.
        spread: ``(2, 2)``, by how much the displacement changes with place, where the tracks turn or grow as one; zeros where they do not.
    """

    known: bool
    weight: float
    camera: Array
    places: Array
    steps: Array
    spread: Array


@dataclass(frozen=True)
class Motion:
    """A video's motion: its moments, and the share of its tracks that never moves, object or camera."""

    moments: list[Moment]
    static: float


@dataclass(frozen=True)
class Agreement:
    """How well two motions agree.

    Attributes:
        score: in ``[-1, 1]``. compared: whether there was a moment that both videos had tracks for; else the score is 0.
    """

    score: float
    compared: bool


def calibrated_motion_fidelity(generated: Tracks, source: Tracks, static: float = STATIC, reach: float = REACH) -> list[Agreement]:
    """Agreement of the motion of each generated video with its source's.

    Displacements ``d`` and ``d'`` across an eighth, a quarter and half of the video agree by ``2 d·d' / (|d|² + |d'|²)``: 1 where they
    are equal, 0 where they are at right angles or only one moves, -1 where they are opposite. Numerator and denominator are summed before
    dividing, so that large motions count more than small ones and noise hardly at all. In both videos the camera (a homography that most
    tracks follow, ``tracking.camera.camera_motion``) is taken off the tracks first. Cameras are compared on a fixed
    grid; objects by the nearest moving track of the other video, both ways, continued to the track's own place where the other's
    tracks turn or grow as one (else a spin would agree with itself only where the same points are tracked). Agreement is discounted by a
    Gaussian of their distance, disagreement is not, and a motion without any counterpart is compared with rest. Camera and objects are
    each averaged over their tracks before they are summed, so that a large quiet background cannot outweigh a small moving object; the
    three lengths of displacement weigh the same. ``static²`` is added to numerator and denominator: two still videos agree by 1.

    Videos of different lengths stand for the same stretch of time: the longer is read at the shorter's relative times.

    Args:
        generated, source: tracks with the same ``b``; ``n`` and ``f`` may differ; tracks may begin at any frame (invisible before).
        static: noise of a displacement. reach: width of the Gaussian. Both in half short sides.

    Raises:
        ValueError: for fewer than two common frames.
    """
    frames = common_frames(generated, source, "motion fidelity")
    pairs = zip(motions(generated, frames, static), motions(source, frames, static), strict=True)
    return [agreement(mine, theirs, static, reach) for mine, theirs in pairs]


def motions(tracks: Tracks, frames: int, static: float = STATIC) -> list[Motion]:
    """The motion of each video, read at ``frames`` evenly spaced times."""
    picked = torch.linspace(0, tracks.points.shape[1] - 1, frames).round().long()
    points = tracks.points[:, picked].double().cpu().numpy()
    visible = tracks.visible[:, picked].cpu().numpy()
    return [_motion(p, v, static, tracks.extent) for p, v in zip(points, visible, strict=True)]


def spans(frames: int) -> Iterator[tuple[int, int]]:
    """First and last frame of every displacement, short ones first: an eighth, a quarter and half of the video, each from every frame.

    Shares of the video and not numbers of frames, so that finer sampling adds no jitter.
    """
    for lag in sorted({max(1, round(frames * share)) for share in LAGS}):
        yield from ((first, first + lag) for first in range(frames - lag))


def _motion(points: Array, visible: NDArray[np.bool_], static: float, extent: tuple[float, float]) -> Motion:
    moments = []
    moves = np.zeros(points.shape[1], bool)
    for first, last in spans(len(points)):
        seen = visible[first : last + 1].all(0)
        start, end = points[first, seen], points[last, seen]
        camera = camera_motion(start, end, extent)
        steps = end - moved(camera, start)
        moving = np.linalg.norm(steps, axis=1) >= static
        moves[np.flatnonzero(seen)[np.linalg.norm(end - start, axis=1) >= static]] = True
        if moving.sum() < FEWEST:
            moving[:] = False
        weight = 1 / (len(points) - (last - first))
        moments.append(
            Moment(
                len(start) >= LEAST,
                weight,
                moved(camera, GRID) - GRID,
                start[moving],
                steps[moving],
                spread_of(start[moving], steps[moving]),
            )
        )
    ever = visible.sum(0) > 1
    return Motion(moments, float(1 - moves[ever].mean()) if ever.any() else 1.0)


def spread_of(places: Array, steps: Array) -> Array:
    """How the displacement of tracks changes with their place, ``(2, 2)``, if most of them turn and grow as one about any point; else 0."""
    none: Array = np.zeros((2, 2))
    if len(places) < LEAST:
        return none
    found, inliers = cv2.estimateAffinePartial2D(places, places + steps, method=cv2.RANSAC, ransacReprojThreshold=TOGETHER, maxIters=TRIALS)
    if found is None or inliers.mean() < MOST:
        return none
    spread: Array = found[:, :2] - np.eye(2)
    return spread


def agreement(mine: Motion, theirs: Motion, static: float = STATIC, reach: float = REACH) -> Agreement:
    """The formula of :func:`calibrated_motion_fidelity` for one pair of motions over the same number of frames."""
    agree, energy, compared = 0.0, 0.0, 0.0
    for a, b in zip(mine.moments, theirs.moments, strict=True):
        if not (a.known and b.known):
            continue
        compared += a.weight
        for shared, total in (_cameras(a, b), _objects(a, b, reach)):
            agree += a.weight * shared
            energy += a.weight * total
    noise = compared * static**2
    return Agreement((agree + noise) / (energy + noise) if compared else 0.0, compared > 0)


def _cameras(a: Moment, b: Moment) -> tuple[float, float]:
    return 2 * float((a.camera * b.camera).sum(1).mean()), float(((a.camera**2).sum(1) + (b.camera**2).sum(1)).mean())


def _objects(a: Moment, b: Moment, reach: float) -> tuple[float, float]:
    """Means over the moving tracks of each side of ``2 d·d'`` and ``|d|² + |d'|²``, averaged over the two sides."""
    sides = [_one_way(x, y, reach) for x, y in ((a, b), (b, a)) if len(x.steps)]
    return (sum(s for s, _ in sides) / len(sides), sum(e for _, e in sides) / len(sides)) if sides else (0.0, 0.0)


def _one_way(a: Moment, b: Moment, reach: float) -> tuple[float, float]:
    own = float((a.steps**2).sum(1).mean())
    if not len(b.steps):
        return 0.0, own
    apart = np.linalg.norm(a.places[:, None] - b.places[None], axis=-1)
    nearest = apart.argmin(1)
    near = np.exp(-0.5 * (apart.min(1) / reach) ** 2)
    other = b.steps[nearest] + (a.places - b.places[nearest]) @ b.spread.T
    shared = 2 * (a.steps * other).sum(1)
    return float(np.where(shared > 0, near * shared, shared).mean()), own + float((other**2).sum(1).mean())
