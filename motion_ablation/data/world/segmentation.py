"""Finding a built-in object by its colour: the built-in world's judge of generated videos."""

from __future__ import annotations

import re

import torch
from torch import Tensor

from motion_ablation.data.world.shapes import COLORS, SHAPES

APPEARANCE = re.compile(rf"\b({'|'.join(COLORS)}) ({'|'.join(SHAPES)})\b.* on an? ({'|'.join(COLORS)}) background")


def appearance_of(prompt: str) -> tuple[str, str, str] | None:
    """``(shape, color, background)`` named in a built-in prompt, or None for any other text."""
    found = APPEARANCE.search(prompt)
    return (found[2], found[1], found[3]) if found else None


def nearest_colors(frames: Tensor) -> Tensor:
    """Index into :data:`COLORS` of each pixel's nearest colour by chromaticity: ``(f, 3, h, w)`` to ``(f, h, w)``.

    Brightness is divided out, since the background's texture varies it.
    """
    palette = torch.tensor(list(COLORS.values()), dtype=frames.dtype, device=frames.device)
    directions = torch.nn.functional.normalize(palette, dim=1)
    pixels = torch.nn.functional.normalize(frames + 1e-4, dim=1)
    return torch.einsum("fchw,kc->fkhw", pixels, directions).argmax(1)


def object_mask(frames: Tensor, color: str) -> Tensor:
    """Pixels whose nearest colour is ``color``: ``(f, h, w)`` bool."""
    return nearest_colors(frames) == list(COLORS).index(color)


def object_centers(frames: Tensor, color: str, least: float = 0.004) -> tuple[Tensor, Tensor]:
    """Centre of the object's pixels per frame.

    Returns:
        ``(f, 2)`` x and y in ``[-1, 1]``, and ``(f,)`` bool: whether the colour covers at least the share ``least``
        of the frame; where it does not, the centre is 0.
    """
    mask = object_mask(frames, color).float()
    area = mask.mean((1, 2))
    height, width = mask.shape[1:]
    x = (torch.arange(width, device=mask.device) + 0.5) / width * 2 - 1
    y = (torch.arange(height, device=mask.device) + 0.5) / height * 2 - 1
    total = mask.sum((1, 2)).clamp(min=1)
    centers = torch.stack([(mask.sum(1) * x).sum(1), (mask.sum(2) * y).sum(1)], 1) / total[:, None]
    return centers, area >= least


def shows_colors(frames: Tensor, color: str, background: str, share: float = 0.75) -> bool:
    """Whether the prompt's object colour is on its background colour, in at least ``share`` of the frames.

    A frame counts if the background's colour covers most of its border, and the object's covers 1 to 60 % of it.
    """
    nearest = nearest_colors(frames)
    names = list(COLORS)
    ring = torch.ones_like(nearest[0], dtype=torch.bool)
    margin = max(1, ring.shape[0] // 8)
    ring[margin:-margin, margin:-margin] = False
    border = (nearest[:, ring] == names.index(background)).float().mean(1)
    area = (nearest == names.index(color)).float().mean((1, 2))
    good = (border > 0.5) & (area > 0.01) & (area < 0.6)
    return bool(good.float().mean() >= share)


def trajectory_error(frames: Tensor, color: str, truth: Tensor) -> tuple[float, float]:
    """How far the object is from where it should be.

    Args:
        frames: ``(f, 3, h, w)``. color: the object's. truth: true centres ``(f, 2)`` in ``[-1, 1]``.

    Returns:
        Mean distance over frames (the frame is 2 wide; a frame without the object counts 1), and the mean cosine of
        the per-frame displacements with the true ones, where both move (0 if they never do).
    """
    centers, visible = object_centers(frames, color)
    distance = torch.where(visible, (centers - truth).norm(dim=1), torch.ones_like(truth[:, 0]))
    moved, should = centers.diff(dim=0), truth.diff(dim=0)
    both = visible[1:] & visible[:-1] & (should.norm(dim=1) > 1e-3)
    cosine = torch.nn.functional.cosine_similarity(moved, should, dim=1)
    return float(distance.mean()), float(cosine[both].mean()) if both.any() else 0.0


def against_truth(frames: Tensor, prompt: str, center: Tensor | None) -> dict[str, float]:
    """What a video of the built-in world is worth against the truth: ``prompt_colors`` (:func:`shows_colors`, 0 or 1) and, of a reference
    whose true centres are known, ``trajectory_error`` and ``direction`` (:func:`trajectory_error`). Empty for any other prompt."""
    appearance = appearance_of(prompt)
    if appearance is None:
        return {}
    _, color, background = appearance
    found = {"prompt_colors": float(shows_colors(frames, color, background))}
    if center is not None:
        found["trajectory_error"], found["direction"] = trajectory_error(frames, color, center)
    return found
