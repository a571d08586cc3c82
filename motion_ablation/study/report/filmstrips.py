"""Frames over time of the reference, the baseline and the replacements, as a figure."""

from __future__ import annotations

import textwrap

import torch
from einops import rearrange
from matplotlib.figure import Figure
from torch import Tensor
from torch.nn import functional as F

from motion_ablation.records import Cell
from motion_ablation.study.report.figures import COLUMN
from motion_ablation.study.report.sheet import REFERENCE, evenly, image_of

FRAMES = 6
LINE, LETTERS = 0.13, 18  # inches from line to line, letters to the inch


def filmstrips(videos: dict[str, Tensor], row: Cell, width: float = COLUMN) -> Figure:
    """One row of evenly spaced frames per video, its name beside it; call it :func:`~motion_ablation.study.report.figures.styled`.

    Args:
        videos: ``(f, 3, h, w)`` by name, all shown at the size of the first.
    """
    size = next(iter(videos.values())).shape[-2:]
    columns = min(FRAMES, *map(len, videos.values()))
    label = max(map(len, videos)) / LETTERS + 0.1
    words = textwrap.wrap(f"“{row.prompt}”, seed {row.seed}, {row.noise} noise", int(LETTERS * width))
    title = LINE * len(words) + 0.06
    padding = (0, gap(size[1]), 0, gap(size[1]))
    strips = [F.pad(evenly(frames, size, columns), padding, value=1.0) for frames in videos.values()]
    picture = torch.cat([rearrange(strip, "f c h w -> c h (f w)") for strip in strips], 1)
    height = (width - label) * picture.shape[1] / picture.shape[2]
    figure = Figure(figsize=(width, height + title))
    figure.set_layout_engine("none")
    axes = figure.add_axes((label / width, 0, 1 - label / width, height / (height + title)))
    axes.imshow(image_of(picture), interpolation="nearest", aspect="auto")
    axes.set_axis_off()
    for index, name in enumerate(videos):
        middle = 1 - (index + 0.5) / len(videos)
        weight = "bold" if name == REFERENCE else "normal"
        axes.text(-0.02, middle, name, transform=axes.transAxes, ha="right", va="center", fontsize=6.5, weight=weight)
    figure.text(0.01, 1, "\n".join(words), ha="left", va="top", fontsize=6.5, linespacing=1.1)
    return figure


def gap(width: int) -> int:
    """White pixels between frames of a width."""
    return max(1, width // 24)
