"""Comparison sheets: the same prompt and seed under every experiment, beneath the reference."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from einops import rearrange
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from motion_ablation.callbacks import cell_stem, labelled, side_by_side
from motion_ablation.data.video import replacing, write_gif
from motion_ablation.study.plan import Study
from motion_ablation.study.table import Results, done_results, noises_of

COLUMNS = 8
WIDTH = 128


def write_sheets(study: Study) -> list[Path]:
    """Writes ``sheets/REFERENCE-NOISE.png`` and ``.gif`` for the first prompt and seed of every reference and initial noise."""
    results = done_results(study)
    written = []
    for reference in study.references:
        for noise in noises_of(results):
            videos, title, fps = gather(study, results, reference, noise)
            if len(videos) > 1:
                stem = study.folder / "sheets" / f"{reference}-{noise}"
                written += [stem.with_suffix(".png"), stem.with_suffix(".gif")]
                with replacing(written[-2]) as part:
                    _image(still_sheet(videos, title)).save(part, "PNG")
                write_gif(written[-1], side_by_side(videos, WIDTH), fps)
    return written


def gather(study: Study, results: Results, reference: str, noise: str) -> tuple[list[tuple[str, Tensor]], str, float]:
    """The labelled videos of a sheet, the reference first, with a title and the frames per second; shared runs once."""
    videos: list[tuple[str, Tensor]] = []
    title, fps = "", 8.0
    for experiment in study.experiments:
        result = results.get((experiment, reference))
        if result is None or experiment in study.same_as:
            continue
        folder = study.run_of(experiment, reference).folder / "frames"
        cell = next((cell for cell in result["cells"] if cell["noise"] == noise), None)
        path = folder / f"{_stem(cell)}.npz" if cell else folder
        if cell is None or not path.is_file() or not (folder / "reference.npz").is_file():
            continue
        if not videos:
            frames, fps = read_frames(folder / "reference.npz")
            videos.append((f"reference: {reference}", frames))
            title = f"prompt: {cell['prompt']}, seed {cell['seed']}, {noise} noise"
        videos.append((experiment, read_frames(path)[0]))
    return videos, title, fps


def _stem(cell: dict[str, Any]) -> str:
    return cell_stem(cell["reference"], cell["prompt"], cell["seed"], cell["noise"])


def read_frames(path: Path) -> tuple[Tensor, float]:
    """A kept video ``(f, 3, h, w)`` in ``[0, 1]`` and its frames per second (8 where it does not say)."""
    with np.load(path) as data:
        frames = torch.from_numpy(rearrange(data["frames"], "f h w c -> f c h w")).float() / 255
        return frames, float(data["fps"]) if "fps" in data else 8.0


def still_sheet(videos: list[tuple[str, Tensor]], title: str) -> Tensor:
    """One row of eight evenly spaced frames per video, each under its label: ``(3, h, w)``."""
    size = videos[0][1].shape[-2:]
    rows = []
    for index, (label, frames) in enumerate(videos):
        chosen = frames[torch.linspace(0, len(frames) - 1, min(COLUMNS, len(frames))).round().long()]
        chosen = chosen if chosen.shape[-2:] == size else F.interpolate(chosen, size=size)
        strip = rearrange(chosen, "f c h w -> 1 c h (f w)")
        rows.append(labelled(strip, f"{label}    {title}" if index == 0 else label, len(chosen) * WIDTH))
    width = min(row.shape[-1] for row in rows)
    return torch.cat([row[..., :width] for row in rows], 2)[0]


def _image(pixels: Tensor) -> Image.Image:
    return Image.fromarray((rearrange(pixels, "c h w -> h w c") * 255).round().byte().numpy())
