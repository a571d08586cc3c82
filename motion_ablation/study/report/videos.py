"""Videos side by side: sheets as files, and for the page rows that play in step, each one animated WebP image, which every browser plays
without a codec or a script."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import torch
from einops import rearrange
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from motion_ablation.callbacks import labelled, side_by_side
from motion_ablation.data.video import write_gif
from motion_ablation.files import replacing
from motion_ablation.study.finished import read_frames
from motion_ablation.study.report.model import REFERENCE, Film

FRAMES, WIDTH = 8, 128  # of a video in a sheet; pixels of each
SMALLEST, LARGEST = 128, 192  # pixels: small videos are enlarged, so that the colours' lower resolution does not show; large ones reduced
QUALITY = 80
LIMIT = 12_000_000  # bytes of all rows together, as they stand in the page
ABSENT = 0.5  # the grey of a video that is not there


def load(film: Film) -> tuple[dict[str, Tensor], float]:
    """A film's videos ``(f, 3, h, w)`` by column, the reference's first, and its frames per second."""
    found = {name: read_frames(path) for name, path in film.videos.items()}
    return {name: frames for name, (frames, _) in found.items()}, found[REFERENCE][1]


def first_films(films: list[Film]) -> list[Film]:
    """The first film of every reference and initial noise."""
    return list({(film.reference, film.noise): film for film in reversed(films)}.values())[::-1]


@dataclass(frozen=True)
class Strip:
    """A film as images: ``data:`` addresses of the animated WebP and of its middle frame, and their width and height in pixels."""

    film: Film
    moving: str
    still: str
    size: tuple[int, int]


def strips(films: list[Film], limit: int = LIMIT) -> list[Strip]:
    """The first films that fit into ``limit`` bytes, at least one; what is shown does not depend on the sizes of later ones."""
    shown: list[Strip] = []
    size = 0
    for film in films:
        strip = _strip(film)
        size += len(strip.moving) + len(strip.still)
        if shown and size > limit:
            break
        shown.append(strip)
    return shown


def _strip(film: Film) -> Strip:
    videos, fps = load(film)
    pictures = [image_of(frame) for frame in in_a_row([videos.get(name) for name in film.columns])]
    moving, still = webp(pictures, fps), webp([pictures[len(pictures) // 2]], fps)
    return Strip(film, data_address(moving, "image/webp"), data_address(still, "image/webp"), pictures[0].size)


def in_a_row(videos: list[Tensor | None]) -> Tensor:
    """Videos ``(f, 3, h, w)`` next to each other, at the size of the first, cut to the shortest; None is a grey field.

    Each is between 128 and 192 pixels wide: smaller ones are enlarged by a whole number, larger ones reduced.
    """
    present = [video for video in videos if video is not None]
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


def write_sheets(films: list[Film], folder: Path) -> None:
    """Writes ``REFERENCE-NOISE.png`` and ``.gif`` for the first prompt and seed of every reference and initial noise."""
    for film in first_films(films):
        videos, fps = load(film)
        named = [(f"reference: {film.reference}" if name == REFERENCE else name, frames) for name, frames in videos.items()]
        stem = folder / f"{film.reference}-{film.noise}"
        with replacing(stem.with_name(f"{stem.name}.png")) as part:
            image_of(still_sheet(named, f"prompt: {film.prompt}, seed {film.seed}, {film.noise} noise")).save(part, "PNG")
        write_gif(stem.with_name(f"{stem.name}.gif"), side_by_side(named, WIDTH), fps)


def still_sheet(videos: list[tuple[str, Tensor]], title: str) -> Tensor:
    """One row of eight evenly spaced frames per video, each under its label: ``(3, h, w)``."""
    size = videos[0][1].shape[-2:]
    rows = []
    for index, (label, frames) in enumerate(videos):
        strip = rearrange(evenly(frames, size), "f c h w -> 1 c h (f w)")
        rows.append(labelled(strip, f"{label}    {title}" if index == 0 else label, strip.shape[-1] // size[1] * WIDTH))
    width = min(row.shape[-1] for row in rows)
    return torch.cat([row[..., :width] for row in rows], 2)[0]


def evenly(frames: Tensor, size: Sequence[int], columns: int = FRAMES) -> Tensor:
    """At most ``columns`` evenly spaced frames of a video ``(f, 3, h, w)``, resized to ``size``."""
    chosen = frames[torch.linspace(0, len(frames) - 1, min(columns, len(frames))).round().long()]
    return chosen if chosen.shape[-2:] == tuple(size) else F.interpolate(chosen, size=tuple(size))


def image_of(pixels: Tensor) -> Image.Image:
    """A picture ``(3, h, w)`` in ``[0, 1]`` as an image."""
    return Image.fromarray((rearrange(pixels, "c h w -> h w c") * 255).round().byte().numpy())
