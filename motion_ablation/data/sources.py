"""Where references come from: paths, folders, manifests and built-in names, with their captions; nothing is decoded here."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from hashlib import file_digest, sha256
from pathlib import Path
from typing import Any

from motion_ablation.data.images import is_image
from motion_ablation.data.text import read_text
from motion_ablation.data.window import FrameRange, VideoError
from motion_ablation.data.world.builtin import DEFAULT, builtin

COLUMNS = ("path", "caption", "start", "prompts", "kinds", "name", "frames", "stratum", "mask", "trajectories")
LISTS = ("prompts", "kinds")  # in CSV separated by |
NAME = 80  # bytes of a reference's name, which is a part of file names
VIDEO_SUFFIXES = (".mp4", ".webm", ".mov", ".mkv", ".avi", ".gif", ".m4v", ".mpg", ".mpeg", ".flv", ".wmv", ".ts")


@dataclass(frozen=True)
class Source:
    """Where a reference comes from, before it is decoded.

    Attributes:
        path: a video or a folder of images; None for a built-in reference, whose file is made when it is read.
        name: unique among the references. caption: what the video shows; None: its sidecar file tells.
        start: seconds into the video; None leaves it to the reader. prompts: the reference's own prompts.
        builtin: name of the built-in reference, or empty.
        range: which of the video's own frames are the reference; None leaves it to the reader. kinds: of each prompt, or none.
        stratum: the part of its set that the reference is in, or empty. mask: a folder of masks. trajectories: a file of tracks.
    """

    path: Path | None
    name: str
    caption: str | None = None
    start: float | None = None
    prompts: tuple[str, ...] = ()
    builtin: str = ""
    range: FrameRange | None = None
    kinds: tuple[str, ...] = ()
    stratum: str = ""
    mask: Path | None = None
    trajectories: Path | None = None

    def strata(self) -> dict[str, str]:
        """Of each prompt, the part of the set that videos of it belong to: the reference's stratum, the prompt's kind, or both."""
        kinds = self.kinds or ("",) * len(self.prompts)
        return {prompt: ", ".join(filter(None, (self.stratum, kind))) for prompt, kind in zip(self.prompts, kinds, strict=True)}


def find_sources(references: Sequence[str]) -> list[Source]:
    """Resolves ``references`` (see :class:`ReferenceDataModule`) without decoding any; same names get ``-2``, ``-3``, ...

    Raises:
        VideoError: a path that does not exist, or a caption that is not given anywhere.
        ValueError: an unknown built-in name, or a manifest with a mistake.
    """
    sources: list[Source] = []
    taken: set[str] = set()
    for reference in [references] if isinstance(references, str) else references:
        for source in _expand(reference):
            short = shortened(source.name, NAME)
            name, count = short, 1
            while name.casefold() in taken:  # some file systems take upper and lower case for the same
                count += 1
                name = f"{short}-{count}"
            taken.add(name.casefold())
            sources.append(replace(source, name=name))
    return sources


def shortened(name: str, limit: int) -> str:
    """A name in at most ``limit`` bytes of UTF-8; one that is longer ends in its hash."""
    whole = name.encode("utf-8", "surrogateescape")
    if len(whole) <= limit:
        return name
    return f"{whole[: limit - 9].decode(errors='ignore')}-{sha256(whole).hexdigest()[:8]}"


def _expand(reference: str) -> list[Source]:
    if reference == "builtin" or reference.startswith("builtin:"):
        names = DEFAULT if reference == "builtin" else (reference.removeprefix("builtin:"),)
        return [Source(None, name, builtin(name).caption, builtin=name) for name in names]
    path = Path(reference).expanduser()
    if not path.exists():
        raise VideoError(f"{path}: no such file or folder")
    if path.suffix.lower() in (".jsonl", ".csv"):
        return _read_manifest(path)
    videos = videos_in(path)
    return [Source(video, video.stem) for video in videos] if videos else [Source(path, path.stem if path.is_file() else path.name)]


def _read_manifest(path: Path) -> list[Source]:
    rows = _jsonl_rows(path) if path.suffix.lower() == ".jsonl" else _csv_rows(path)
    sources = [_manifest_source(path, line, row) for line, row in rows]
    if not sources:
        raise ValueError(f"{path}: the manifest has no rows")
    return sources


def _jsonl_rows(path: Path) -> list[tuple[int, dict[str, Any]]]:
    rows = []
    for line, text in enumerate(read_text(path).splitlines(), 1):
        if not text.strip():
            continue
        try:
            row = json.loads(text)
        except json.JSONDecodeError as error:
            raise ValueError(f"{path}, line {line}: not JSON: {error}") from error
        if not isinstance(row, dict):
            raise ValueError(f"{path}, line {line}: must be a JSON object with {', '.join(COLUMNS)}")
        rows.append((line, row))
    return rows


def _csv_rows(path: Path) -> list[tuple[int, dict[str, Any]]]:
    with io.StringIO(read_text(path), newline="") as file:
        reader = csv.DictReader(file, skipinitialspace=True)
        rows: list[tuple[int, dict[str, Any]]] = []
        for row in reader:
            if None in row:
                raise ValueError(f"{path}, line {reader.line_num}: more values than columns; quote a caption that holds a comma")
            rows.append((reader.line_num, {key: value for key, value in row.items() if value}))
    for _, values in rows:
        for column in LISTS:
            if column in values:
                values[column] = [part.strip() for part in values[column].split("|") if part.strip()]
    return rows


def _manifest_source(manifest: Path, line: int, row: dict[str, Any]) -> Source:
    where = f"{manifest}, line {line}"
    unknown = [key for key in row if key not in COLUMNS]
    if unknown:
        raise ValueError(f"{where}: unknown column '{unknown[0]}'. Columns: {', '.join(COLUMNS)}")
    if not row.get("path") or not isinstance(row["path"], str):
        raise ValueError(f"{where}: has no path")
    prompts, kinds = (_texts(where, column, row) for column in LISTS)
    if kinds and len(kinds) != len(prompts):
        raise ValueError(f"{where}: kinds must be as many as prompts, {len(prompts)}, not {len(kinds)}")
    caption, name, stratum = (_text(where, column, row) for column in ("caption", "name", "stratum"))
    path, mask, trajectories = (_beside(manifest, where, row.get(column)) for column in ("path", "mask", "trajectories"))
    assert path is not None
    start, frames = _seconds(where, row.get("start")), FrameRange.parse(row["frames"], where) if row.get("frames") else None
    if start is not None and frames is not None:
        raise ValueError(f"{where}: give start in seconds or frames by their numbers, not both")
    name = name or (path.stem if path.is_file() else path.name)
    return Source(path, name, caption or None, start, prompts, "", frames, kinds, stratum, mask, trajectories)


def _texts(where: str, column: str, row: dict[str, Any]) -> tuple[str, ...]:
    values = row.get(column) or []
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        raise ValueError(f"{where}: {column} must be a list of texts, not {values!r}")
    return tuple(values)


def _text(where: str, column: str, row: dict[str, Any]) -> str:
    value = row.get(column)
    if not isinstance(value, str | None):
        raise ValueError(f"{where}: {column} must be a text, not {value!r}")
    return (value or "").strip()


def _beside(manifest: Path, where: str, name: Any) -> Path | None:
    """A path of a manifest, which is relative to it."""
    if not name:
        return None
    if not isinstance(name, str):
        raise ValueError(f"{where}: a path must be a text, not {name!r}")
    path = manifest.parent / Path(name).expanduser()
    if not path.exists():
        raise VideoError(f"{path}: no such file or folder ({where})")
    return path


def _seconds(where: str, value: Any) -> float | None:
    if value is None:
        return None
    try:
        seconds = float(value)
    except (TypeError, ValueError):
        seconds = -1.0
    if not 0 <= seconds < float("inf"):
        raise ValueError(f"{where}: start must be 0 or more seconds, not {value!r}")
    return seconds


def sidecar_of(path: Path) -> Path:
    """Where the caption is written: ``clip.txt`` beside ``clip.mp4`` (or beside the folder ``clip``)."""
    return path.with_suffix(".txt") if path.is_file() else path.parent / f"{path.name}.txt"


def caption_beside(path: Path) -> str:
    """The text of :func:`sidecar_of`, its white space evened; empty where there is none."""
    file = sidecar_of(path)
    return " ".join(read_text(file).split()) if file.exists() else ""


def caption_of(path: Path) -> str:
    """The caption beside a reference. Raises :class:`VideoError` where there is none."""
    caption = caption_beside(path)
    if not caption:
        file = sidecar_of(path)
        raise VideoError(f"{path}: has no caption. Write what it shows into {file}, set the option caption, or list it in a manifest")
    return caption


def videos_in(folder: Path) -> list[Path]:
    """The videos of a folder that holds no images, by name; empty for a file or a folder of images."""
    if not folder.is_dir() or any(is_image(path) for path in folder.iterdir()):
        return []
    found = sorted(path for path in folder.iterdir() if path.suffix.lower() in VIDEO_SUFFIXES and not path.name.startswith("."))
    if not found:
        raise VideoError(f"{folder}: holds neither images nor videos ({', '.join(VIDEO_SUFFIXES)})")
    return found


def refuse_copies(sources: Sequence[Source]) -> None:
    """Refuses a video that is there twice, under whatever name: two references that are one would count as independent.

    The same file is another reference where it begins elsewhere or has another caption. Raises ``ValueError``.
    """
    seen: dict[tuple[Any, ...], str] = {}
    for source in sources:
        content: Any = source.builtin or (_digest(source.path) if source.path is not None and source.path.is_file() else source.path)
        caption = source.caption or (caption_beside(source.path) if source.path is not None else "")
        first = seen.setdefault((content, source.start, source.range, caption), source.name)
        if first != source.name:
            raise ValueError(f"references '{first}' and '{source.name}' are the same video; give it once (seeds repeat within a reference)")


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return file_digest(file, "sha256").hexdigest()
