"""What the sets share: rows of a manifest, tables of prompts, and the file that is written."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from motion_ablation.data.images import is_image
from motion_ablation.data.sources import VIDEO_SUFFIXES
from motion_ablation.data.text import read_text
from motion_ablation.data.window import VideoError
from motion_ablation.files import replacing
from motion_ablation.registry import Registry

Row = dict[str, Any]
"""A line of a manifest; ``path``, ``mask`` and ``trajectories`` are :class:`Path`."""

SETS: Registry[Callable[[Path], list[Row]]] = Registry("set", "motion_ablation.data.sets")
TABLE = "prompts.csv"


def manifest_rows(name: str, folder: str | Path) -> list[Row]:
    """The rows of a set from the user's copy of it.

    Raises:
        VideoError: a folder that is not there or does not hold the set; the message says which file is missing. UnknownName: no such set.
    """
    folder = Path(folder).expanduser()
    convert = SETS[name]
    if not folder.is_dir():
        raise VideoError(f"{folder}: no such folder")
    rows = convert(folder)
    if not rows:
        raise VideoError(f"{folder}: holds no video of the set '{name}'; see its layout in docs/manifests.md")
    return rows


def write_manifest(rows: list[Row], file: str | Path) -> None:
    """Writes a ``.jsonl`` manifest whose paths are relative to it."""
    file = Path(file).expanduser()
    lines = []
    for row in rows:
        paths = {key: Path(os.path.relpath(value, file.parent)).as_posix() for key, value in row.items() if isinstance(value, Path)}
        lines.append(json.dumps({**{key: value for key, value in row.items() if value}, **paths}, ensure_ascii=False))
    with replacing(file) as part:
        part.write_text("\n".join(lines) + "\n", encoding="utf-8")


def prompt_table(folder: Path, columns: tuple[str, ...]) -> list[dict[str, str]]:
    """The rows of ``prompts.csv`` in the folder, which must have these columns. Raises :class:`VideoError` where it has not."""
    file = folder / TABLE
    if not file.is_file():
        raise VideoError(
            f"{file}: no such file; the set's prompts are not ours to ship: write them there, with the columns {', '.join(columns)}"
        )
    with io.StringIO(read_text(file), newline="") as text:
        rows = list(csv.DictReader(text, skipinitialspace=True))
    for line, row in enumerate(rows, 2):
        missing = [column for column in columns if not (row.get(column) or "").strip()]
        if missing:
            raise VideoError(f"{file}, line {line}: has no {missing[0]}; its columns are {', '.join(columns)}")
    return [{column: row[column].strip() for column in columns} for row in rows]


def find_video(folder: Path, name: str) -> Path:
    """The video or folder of images called so, with or without an ending. Raises :class:`VideoError` where there is none."""
    exact = folder / name
    if exact.exists():
        return exact
    for suffix in VIDEO_SUFFIXES:
        if (folder / f"{name}{suffix}").is_file():
            return folder / f"{name}{suffix}"
    raise VideoError(f"{exact}: no such video or folder of frames")


def frame_folders(folder: Path) -> list[Path]:
    """The folders in a folder that hold images, by name."""
    return sorted(path for path in folder.iterdir() if path.is_dir() and any(is_image(file) for file in path.iterdir()))
