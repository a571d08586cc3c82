"""Comparison sheets: the same prompt and seed under every experiment, beneath the reference."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from einops import rearrange
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from motion_ablation.callbacks import labelled, side_by_side
from motion_ablation.data.video import replacing, write_gif
from motion_ablation.records import Cell
from motion_ablation.study.finished import NotThere
from motion_ablation.study.plan.study import Study
from motion_ablation.study.results import Results, noises_of

COLUMNS = 8
WIDTH = 128
REFERENCE = "reference"


def rows_of(results: Results) -> list[Cell]:
    """All that was generated, in the order in which to show it if not all can be shown.

    First the first seed of every reference's first prompt under each initial noise, then that of its second prompt, and so on; then the
    second seeds.
    """
    study = results.study
    found = [results.first(name, reference) for name in study.experiments for reference in study.references]
    cells = [cell for finished in found if finished is not None for cell in finished.cells]
    noises = noises_of(cell.noise for cell in cells)
    places: dict[str, tuple[dict[str, int], dict[int, int]]] = {name: ({}, {}) for name in study.references}
    rows: dict[Cell, tuple[int, ...]] = {}
    for cell in cells:
        prompts, seeds = places[cell.reference]
        rank = seeds.setdefault(cell.seed, len(seeds)), prompts.setdefault(cell.prompt, len(prompts))
        rows.setdefault(cell, (*rank, noises.index(cell.noise), study.references.index(cell.reference)))
    return sorted(rows, key=rows.__getitem__)


def ordered(study: Study) -> list[str]:
    """The experiments with runs of their own, the baselines first."""
    baselines = [study.owner(card.baseline) for card in study.cards]
    return [name for name in dict.fromkeys([*baselines, *study.experiments]) if name not in study.same_as]


def gather(results: Results, row: Cell) -> tuple[dict[str, Tensor], float]:
    """The row's videos ``(f, 3, h, w)`` by experiment, the reference's under :data:`REFERENCE` first, and the frames per second.

    Experiments that have not generated it, or whose frames are not there, are left out; empty if only the reference is left.
    """
    videos: dict[str, Tensor] = {}
    fps = 8.0
    for experiment in ordered(results.study):
        finished = results.first(experiment, row.reference)
        if finished is None:
            continue
        try:
            frames, (reference, rate) = finished.video(row), finished.reference_video()
        except NotThere:
            continue
        if not videos:
            videos[REFERENCE], fps = reference, rate
        videos[experiment] = frames
    return videos, fps


def write_sheets(results: Results) -> list[Path]:
    """Writes ``sheets/REFERENCE-NOISE.png`` and ``.gif`` for the first prompt and seed of every reference and initial noise."""
    written: dict[Path, None] = {}
    for row in rows_of(results):
        stem = results.study.folder / "sheets" / f"{row.reference}-{row.noise}"
        videos, fps = ({}, 0.0) if stem in written else gather(results, row)
        if not videos:
            continue
        named = [(f"reference: {row.reference}" if name == REFERENCE else name, frames) for name, frames in videos.items()]
        with replacing(stem.with_suffix(".png")) as part:
            image_of(still_sheet(named, f"prompt: {row.prompt}, seed {row.seed}, {row.noise} noise")).save(part, "PNG")
        write_gif(stem.with_suffix(".gif"), side_by_side(named, WIDTH), fps)
        written[stem] = None
    return [stem.with_suffix(suffix) for stem in written for suffix in (".png", ".gif")]


def still_sheet(videos: list[tuple[str, Tensor]], title: str) -> Tensor:
    """One row of eight evenly spaced frames per video, each under its label: ``(3, h, w)``."""
    size = videos[0][1].shape[-2:]
    rows = []
    for index, (label, frames) in enumerate(videos):
        strip = rearrange(evenly(frames, size), "f c h w -> 1 c h (f w)")
        rows.append(labelled(strip, f"{label}    {title}" if index == 0 else label, strip.shape[-1] // size[1] * WIDTH))
    width = min(row.shape[-1] for row in rows)
    return torch.cat([row[..., :width] for row in rows], 2)[0]


def evenly(frames: Tensor, size: Sequence[int], columns: int = COLUMNS) -> Tensor:
    """At most ``columns`` evenly spaced frames of a video ``(f, 3, h, w)``, resized to ``size``."""
    chosen = frames[torch.linspace(0, len(frames) - 1, min(columns, len(frames))).round().long()]
    return chosen if chosen.shape[-2:] == tuple(size) else F.interpolate(chosen, size=tuple(size))


def image_of(pixels: Tensor) -> Image.Image:
    """A picture ``(3, h, w)`` in ``[0, 1]`` as an image."""
    return Image.fromarray((rearrange(pixels, "c h w -> h w c") * 255).round().byte().numpy())
