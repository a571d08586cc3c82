"""Finding a built-in object by its colour: how videos of the built-in world are judged without a network or a tracker."""

from __future__ import annotations

import re

import torch
from torch import Tensor

from motion_ablation.palette import COLORS, SHAPES

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
