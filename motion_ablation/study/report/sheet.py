"""Comparison sheets: the same prompt and seed under every experiment, beneath the reference."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from einops import rearrange
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from motion_ablation.callbacks import cell_stem, labelled, side_by_side
from motion_ablation.data.video import write_gif
from motion_ablation.files import replacing
from motion_ablation.study.kept import read_frames
from motion_ablation.study.plan.study import Run, Study
from motion_ablation.study.results import done_runs, noises_of

COLUMNS = 8
WIDTH = 128
REFERENCE = "reference"

Kept = dict[tuple[str, str], tuple[Run, dict[str, Any]]]


@dataclass(frozen=True)
class Row:
    """What the videos side by side have in common."""

    reference: str
    prompt: str
    seed: int
    noise: str


def kept_runs(study: Study) -> Kept:
    """The run whose videos are shown, and its result, by experiment and reference: of the first training seed that is done."""
    kept: Kept = {}
    for experiment, run, result in done_runs(study):
        kept.setdefault((experiment, run.reference), (run, result))
    return kept


def rows_of(study: Study, kept: Kept) -> list[Row]:
    """All that was generated, in the order in which to show it if not all can be shown.

    First the first seed of every reference's first prompt under each initial noise, then that of its second prompt, and so on; then the
    second seeds.
    """
    cells = [cell for _, result in kept.values() for cell in result["cells"]]
    noises = noises_of(cell["noise"] for cell in cells)
    places: dict[str, tuple[dict[str, int], dict[int, int]]] = {name: ({}, {}) for name in study.references}
    rows: dict[Row, tuple[int, ...]] = {}
    for cell in cells:
        row = Row(cell["reference"], cell["prompt"], cell["seed"], cell["noise"])
        prompts, seeds = places[row.reference]
        rank = seeds.setdefault(row.seed, len(seeds)), prompts.setdefault(row.prompt, len(prompts))
        rows.setdefault(row, (*rank, noises.index(row.noise), study.references.index(row.reference)))
    return sorted(rows, key=rows.__getitem__)


def ordered(study: Study) -> list[str]:
    """The experiments with runs of their own, the baselines first."""
    baselines = [study.same_as.get(card.baseline, card.baseline) for card in study.cards]
    return [name for name in dict.fromkeys([*baselines, *study.experiments]) if name not in study.same_as]


def gather(study: Study, kept: Kept, row: Row) -> tuple[dict[str, Tensor], float]:
    """The row's videos ``(f, 3, h, w)`` by experiment, the reference's under :data:`REFERENCE` first, and the frames per second.

    Experiments that have not generated it, or whose frames were not kept, are left out; empty if only the reference is left.
    """
    videos: dict[str, Tensor] = {}
    fps = 8.0
    for experiment in ordered(study):
        if (experiment, row.reference) not in kept:
            continue
        folder = kept[experiment, row.reference][0].folder / "frames"
        path = folder / f"{cell_stem(**asdict(row))}.npz"
        if not path.is_file() or not (folder / "reference.npz").is_file():
            continue
        if not videos:
            videos[REFERENCE], fps = read_frames(folder / "reference.npz")
        videos[experiment] = read_frames(path)[0]
    return videos, fps


def write_sheets(study: Study) -> list[Path]:
    """Writes ``sheets/REFERENCE-NOISE.png`` and ``.gif`` for the first prompt and seed of every reference and initial noise."""
    kept = kept_runs(study)
    written: dict[Path, None] = {}
    for row in rows_of(study, kept):
        stem = study.folder / "sheets" / f"{row.reference}-{row.noise}"
        videos, fps = ({}, 0.0) if stem in written else gather(study, kept, row)
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
