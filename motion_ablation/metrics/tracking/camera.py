"""Camera motion: the homography that most of a video's tracks follow, fitted robustly."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

TOLERANCE = 0.012
"""Largest distance, in half short sides, between a track's end and where the camera's motion takes its start."""
TRIALS = 500
LEAST = 8
"""Tracks that a fit needs."""
CELLS, COVERED = 4, 6
"""A camera moves tracks in at least 6 of the 4 x 4 cells of the frame; what moves fewer is an object."""
SIMPLER = 0.9
"""A simpler model is taken if this share of the best one's inliers follows it too."""


def camera_motion(start: Array, end: Array, extent: tuple[float, float] = (1.0, 1.0)) -> Array:
    """The simplest of no motion, similarity and homography that explains the tracks; RANSAC, with a fixed seed inside OpenCV.

    Args:
        start, end: ``(n, 2)``, the same points in two frames, ``(x, y)`` in half short sides. extent: the frame's right and lower edges.

    Returns:
        ``(3, 3)``, the homography from ``start`` to ``end``; the identity where fewer than 8 tracks, or tracks in too small a
        part of the frame, agree on anything else.
    """
    still: Array = np.eye(3)
    if len(start) < LEAST:
        return still
    candidates: list[Array] = [still]
    similarity, _ = cv2.estimateAffinePartial2D(start, end, method=cv2.RANSAC, ransacReprojThreshold=TOLERANCE, maxIters=TRIALS)
    if similarity is not None:
        candidates.append(np.vstack([similarity, [0, 0, 1]]))
    homography, _ = cv2.findHomography(start, end, cv2.RANSAC, TOLERANCE, maxIters=TRIALS)
    if homography is not None:
        candidates.append(homography)
    followed = [np.linalg.norm(moved(model, start) - end, axis=1) < TOLERANCE for model in candidates]
    most = max(int(inliers.sum()) for inliers in followed)
    for model, inliers in zip(candidates, followed, strict=True):
        if inliers.sum() >= SIMPLER * most:
            return model if _cells(start[inliers] / extent) >= COVERED else still
    return still


def moved(homography: Array, points: Array) -> Array:
    """Where a homography takes points ``(n, 2)``."""
    projected = np.c_[points, np.ones(len(points))] @ homography.T
    depth = projected[:, 2:]
    result: Array = projected[:, :2] / np.where(np.abs(depth) < 1e-6, 1e-6, depth)
    return result


def _cells(points: Array) -> int:
    """How many cells of the frame hold a point; its edges lie at ±1."""
    cell = np.clip(((points + 1) / 2 * CELLS).astype(int), 0, CELLS - 1)
    return len({tuple(place) for place in cell.tolist()})
