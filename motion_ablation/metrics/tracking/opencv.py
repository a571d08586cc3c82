"""OpenCV's tracker: pyramidal Lucas-Kanade (Bouguet 2000)."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from motion_ablation.metrics.tracking.tracks import TRACKERS, Tracks


@TRACKERS.register("opencv")
class OpenCVTracker:
    """Pyramidal Lucas-Kanade on a regular grid of first-frame points and on the first frame's corners.

    Frames are tracked in colour, so that shapes as bright as their background are seen, and small frames are first enlarged.
    Three tests guard a step: the window must hold texture in both directions (no tracking along an edge or inside a flat area), tracking
    the step backwards must return to its start, and the point must stay inside the frame. A point that fails one is lost for good.

    Args:
        grid: points per side of the regular grid.
        corners: most corners to add; where a frame has fewer, the remaining places hold points that are lost from the start.
        window: side of the matched window in pixels of the enlarged frame.
        size: frames whose short side is smaller are enlarged to it.
        texture: least eigenvalue of the window's gradient matrix, as OpenCV scales it.
        round_trip: largest forward-backward error, in half short sides.
    """

    def __init__(
        self,
        grid: int = 12,
        corners: int = 48,
        window: int = 25,
        size: int = 256,
        texture: float = 2e-5,
        round_trip: float = 0.006,
    ) -> None:
        if grid < 1 or corners < 0 or window < 3 or size < 1:
            raise ValueError(f"grid >= 1, corners >= 0, window >= 3 and size >= 1 are needed, not {grid}, {corners}, {window}, {size}")
        self.name = f"opencv, grid {grid}, corners {corners}"
        self.grid, self.corners, self.window, self.size, self.texture, self.round_trip = grid, corners, window, size, texture, round_trip

    def __call__(self, frames: Tensor) -> Tracks:
        """Tracks ``(b, f, 3, h, w)`` in ``[0, 1]``; points and visibility come back on the frames' device."""
        tracked = [self._track(video) for video in frames]
        points = torch.stack([torch.from_numpy(points) for points, _ in tracked])
        visible = torch.stack([torch.from_numpy(visible) for _, visible in tracked])
        return Tracks(points.to(frames.device), visible.to(frames.device))

    def _track(self, video: Tensor) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        images = _enlarged_images(video, self.size)
        height, width = images[0].shape[:2]
        extent = np.array([width, height], np.float32)
        levels = max(0, int(np.log2(min(height, width) / self.window)))
        point, seen = self._first_points(images[0])
        points, visible = [point], [seen]
        for earlier, later in pairwise(images):
            moved, good = self._step(earlier, later, point, levels)
            back, back_good = self._step(later, earlier, moved, levels)
            error = np.abs(back - point).max(1) / extent.min() * 2
            inside = ((moved >= -0.5) & (moved <= extent - 0.5)).all(1)
            seen = seen & good & back_good & inside & (error < self.round_trip)
            point = np.where(seen[:, None], moved, point)
            points.append(point)
            visible.append(seen)
        return ((2 * np.stack(points) + 1) / extent - 1).astype(np.float32), np.stack(visible)

    def _step(self, earlier: Any, later: Any, point: NDArray[np.float32], levels: int) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        stop = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 20, 0.02)
        window = (self.window, self.window)
        moved, status, _ = cv2.calcOpticalFlowPyrLK(
            earlier, later, point[:, None], None, winSize=window, maxLevel=levels, criteria=stop, minEigThreshold=self.texture
        )
        return moved[:, 0].astype(np.float32), status[:, 0].astype(bool)

    def _first_points(self, image: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        height, width = image.shape[:2]
        step = (np.arange(self.grid, dtype=np.float32) + 0.5) / self.grid
        x, y = np.meshgrid(step * width - 0.5, step * height - 0.5)
        corners = _corners(image, self.corners)
        missing = self.corners - len(corners)
        points = np.concatenate([np.stack([x.ravel(), y.ravel()], 1), corners, np.zeros((missing, 2), np.float32)])
        return points.astype(np.float32), np.arange(len(points)) < len(points) - missing


def _enlarged_images(video: Tensor, size: int) -> list[NDArray[np.uint8]]:
    """``(f, 3, h, w)`` to contiguous ``(h', w', 3)`` uint8 images whose short side is at least ``size``."""
    short = min(video.shape[-2:])
    video = video.detach().float().cpu()
    if short < size:
        height, width = (round(side * size / short) for side in video.shape[-2:])
        video = F.interpolate(video, size=(height, width), mode="bicubic", align_corners=False)
    return list((video.clamp(0, 1) * 255).round().byte().permute(0, 2, 3, 1).contiguous().numpy())


def _corners(image: NDArray[np.uint8], most: int) -> NDArray[np.float32]:
    """The strongest corners of any colour channel: ``(at most most, 2)``, (x, y) in pixels, at least 2 % of the frame apart."""
    strength = np.max([cv2.cornerMinEigenVal(np.ascontiguousarray(image[..., c]), blockSize=7) for c in range(3)], axis=0)
    reach = 2 * max(1, round(0.02 * min(image.shape[:2]))) + 1
    peak = (strength == cv2.dilate(strength, np.ones((reach, reach), np.uint8))) & (strength > 0.01 * strength.max())
    y, x = np.nonzero(peak)
    best = np.argsort(-strength[y, x], kind="stable")[:most]
    return np.stack([x[best], y[best]], 1).astype(np.float32)
