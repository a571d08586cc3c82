"""What a video of the built-in world shows: how steady its object is, which shape, and which of the twelve motions."""

from __future__ import annotations

from functools import cache
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from motion_ablation.data.world.shapes import MOTIONS, SHAPES, Scene, trajectory
from motion_ablation.metrics.segmentation import object_centers, object_mask

LEAST_PIXELS = 12
SYMMETRY = {"square": 4, "triangle": 3, "star": 5, "cross": 4}
"""Turns of a circle after which a shape looks the same; a circle and a ring look the same in every turn."""
FULL_SPIN = 1.5 * np.pi
"""By how much a spinning object turns in a clip, in radians."""


def centred(mask: Tensor) -> Tensor | None:
    """The mask ``(h, w)`` moved such that its centre of mass is in the middle, to whole pixels; None if it has next to no pixels."""
    rows, columns = torch.where(mask)
    if len(rows) < LEAST_PIXELS:
        return None
    height, width = mask.shape
    shift = (height // 2 - int(rows.float().mean().round()), width // 2 - int(columns.float().mean().round()))
    return torch.roll(mask, shift, (0, 1))


def steadiness(frames: Tensor, color: str) -> dict[str, float]:
    """How much the object of this colour stays what it is, in ``(f, 3, h, w)`` frames.

    Returns:
        ``mask_iou``: mean overlap of its mask with the next frame's, both centred (0 where either is missing); ``without_object``: share
        of frames with fewer than 12 pixels of it; ``area_variation``: its area's standard deviation over its mean.
    """
    masks = object_mask(frames, color)
    area = masks.flatten(1).sum(1).float()
    moved = [centred(mask) for mask in masks]
    overlaps = [0.0 if a is None or b is None else float((a & b).sum() / (a | b).sum()) for a, b in pairwise(moved)]
    return {
        "mask_iou": float(np.mean(overlaps)),
        "without_object": float((area < LEAST_PIXELS).float().mean()),
        "area_variation": float(area.std() / area.mean().clamp(min=1)),
    }


def shape_recognised(encoder: object, frames: Tensor, scene: Scene) -> float:
    """Share of frames in which the image-text model ``encoder`` finds the scene's shape the most similar of the six."""
    texts = [f"a {scene.color} {shape} on a {scene.background} background" for shape in SHAPES]
    similarity = encoder.images(frames) @ encoder.texts(texts).T  # type: ignore[attr-defined]
    return float((similarity.argmax(1).cpu() == SHAPES.index(scene.shape)).float().mean())


def turned(masks: Tensor, shape: str) -> float:
    """By how many radians the shape turns from the first to the last of the masks ``(f, h, w)``, all of which show it.

    The angle of a shape that looks the same after each k-th of a turn is the phase of the k-th angular moment of its mask.
    """
    order = SYMMETRY[shape]
    phases = []
    for mask in masks:
        rows, columns = torch.where(mask)
        y, x = rows - rows.float().mean(), columns - columns.float().mean()
        angle, radius = torch.atan2(y, x), torch.hypot(x, y)
        phases.append(float(torch.atan2((radius**2 * torch.sin(order * angle)).sum(), (radius**2 * torch.cos(order * angle)).sum())))
    unwrapped = np.unwrap(phases) / order
    return float(unwrapped[-1] - unwrapped[0])


def motion_of(frames: Tensor, scene: Scene) -> str | None:
    """The motion, of all twelve, whose true path comes nearest to the object's in ``(f, 3, h, w)`` frames.

    Compared are the centre and the logarithm of the size over time, each less its mean, with the motions of all phases and lengths
    that the world draws. A spinning object stands still in both, so its turning decides; a circle or a ring shows none and counts as
    standing still. None if the object is missing in more than half of the frames.
    """
    centers, visible = object_centers(frames, scene.color)
    if int(visible.sum()) * 2 < len(frames):
        return None
    masks = object_mask(frames, scene.color)[visible]
    size = masks.flatten(1).sum(1).float().sqrt().log()
    found = np.concatenate([centers[visible].cpu().numpy(), size.cpu().numpy()[:, None]], 1)
    found = found - found.mean(0)
    there = visible.cpu().numpy()

    def distance(path: tuple[str, np.ndarray]) -> float:
        seen = path[1][there]
        return float(np.square(found - (seen - seen.mean(0))).mean())

    nearest = min(_paths(len(frames)), key=distance)[0]
    if nearest == "standing still" and scene.shape in SYMMETRY and turned(masks, scene.shape) > FULL_SPIN / 2:
        return "spinning"
    return nearest


@cache
def _paths(frames: int) -> list[tuple[str, np.ndarray]]:
    """Motions with their true paths: centre and logarithm of the size, ``(f, 3)``."""
    paths = []
    for motion in MOTIONS:
        if motion == "spinning":
            continue
        for travel in (0.8, 1.0, 1.2):
            for phase in np.linspace(0, 2 * np.pi, 16, endpoint=False):
                truth = trajectory(Scene("circle", "red", "blue", motion=motion, travel=travel, phase=float(phase)), frames)
                paths.append((motion, np.concatenate([truth.center, np.log(truth.scale)[:, None]], 1)))
    return paths


def obeys(frames: Tensor, scene: Scene) -> bool:
    """Whether the object does what the scene's motion says; for a circle and a ring, spinning is standing still."""
    asked = "standing still" if scene.motion == "spinning" and scene.shape not in SYMMETRY else scene.motion
    return motion_of(frames, scene) == asked
