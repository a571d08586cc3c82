"""Rows of videos that play in step: each row is one animated WebP image, which every browser plays without a codec or a script."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from einops import rearrange
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from motion_ablation.records import Cell
from motion_ablation.study.report.sheet import REFERENCE, gather, ordered, rows_of
from motion_ablation.study.results import Results

SMALLEST, LARGEST = 128, 192  # pixels: small videos are enlarged, so that the colours' lower resolution does not show; large ones reduced
QUALITY = 80
LIMIT = 12_000_000  # bytes of all rows together, as they stand in the page
ABSENT = 0.5  # the grey of a video that is not there


@dataclass(frozen=True)
class Film:
    """A row as images.

    Attributes:
        columns: the reference and the experiments, from left to right. absent: those of them without a video, shown in grey.
        moving, still: ``data:`` addresses of the animated WebP and of its middle frame. size: width and height of a row in pixels.
    """

    row: Cell
    columns: list[str]
    absent: list[str]
    moving: str
    still: str
    size: tuple[int, int]


def films(results: Results, limit: int = LIMIT) -> tuple[list[Film], list[Cell]]:
    """The rows that fit into ``limit`` bytes, in the order of :func:`rows_of`, and those that are left out.

    The first row that does not fit ends it, so that what is shown does not depend on the sizes of later ones. Rows without any video
    are in neither list.
    """
    shown: list[Film] = []
    left_out: list[Cell] = []
    size, full = 0, False
    columns = _columns(results)
    for row in rows_of(results):
        if full:
            left_out.append(row)
            continue
        videos, fps = gather(results, row)
        if not videos:
            continue
        film = _film(row, videos, columns[row.reference, row.noise], fps)
        size += len(film.moving) + len(film.still)
        full = bool(shown) and size > limit  # one is always shown
        if full:
            left_out.append(row)
        else:
            shown.append(film)
    return shown, left_out


def _columns(results: Results) -> dict[tuple[str, str], list[str]]:
    """The columns of the rows of each reference and noise: the reference, and the experiments that have results there."""
    found: dict[tuple[str, str], list[str]] = {}
    for experiment in ordered(results.study):
        for reference in results.study.references:
            finished = results.first(experiment, reference)
            for noise in dict.fromkeys(cell.noise for cell in finished.cells) if finished else []:
                found.setdefault((reference, noise), [REFERENCE]).append(experiment)
    return found


def _film(row: Cell, videos: dict[str, Tensor], columns: list[str], fps: float) -> Film:
    strip = in_a_row([videos.get(name) for name in columns])
    pixels = np.ascontiguousarray((rearrange(strip, "f c h w -> f h w c") * 255).round().byte().numpy())
    pictures = [Image.fromarray(picture) for picture in pixels]
    moving = webp(pictures, fps)
    still = webp([pictures[len(pictures) // 2]], fps)
    absent = [name for name in columns if name not in videos]
    return Film(row, columns, absent, data_address(moving, "image/webp"), data_address(still, "image/webp"), pictures[0].size)


def in_a_row(videos: list[Tensor | None]) -> Tensor:
    """Videos ``(f, 3, h, w)`` next to each other, at the size of the first, cut to the shortest; None is a grey field.

    Each is between 128 and 192 pixels wide: smaller ones are enlarged by a whole number, larger ones reduced.

    Raises:
        ValueError: if there is no video at all.
    """
    present = [video for video in videos if video is not None]
    if not present:
        raise ValueError("a row needs at least one video")
    height, width = present[0].shape[-2:]
    length = min(map(len, present))
    factor = -(-SMALLEST // width) if width < SMALLEST else min(1.0, LARGEST / width)
    size = round(height * factor), round(width * factor)
    cells = [torch.full((length, 3, *size), ABSENT) if video is None else _resized(video[:length].float(), size) for video in videos]
    return torch.cat(cells, -1)


def _resized(video: Tensor, size: tuple[int, int]) -> Tensor:
    if size[1] >= video.shape[-1]:
        return F.interpolate(video, size=size, mode="nearest")
    return F.interpolate(video, size=size, mode="bilinear", antialias=True).clamp(0, 1)


def webp(pictures: list[Image.Image], fps: float) -> bytes:
    """Pictures as a lossy WebP that plays endlessly, if there are several."""
    ends = [round(1000 * k / fps) for k in range(len(pictures) + 1)]  # rounding the times, not the durations, keeps the clip's length
    durations = [after - before for before, after in pairwise(ends)]
    file = io.BytesIO()
    animated = {"save_all": True, "append_images": pictures[1:], "duration": durations, "loop": 0} if len(pictures) > 1 else {}
    pictures[0].save(file, "WEBP", quality=QUALITY, method=0, **animated)
    return file.getvalue()


def data_address(content: bytes, kind: str) -> str:
    """A ``data:`` address that holds ``content`` itself."""
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"
