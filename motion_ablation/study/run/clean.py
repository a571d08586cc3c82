"""Freeing disk space: artefacts in the cache that no study needs any more."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from motion_ablation.study.plan.study import Study
from motion_ablation.study.run.execute import USES
from motion_ablation.study.run.runner import StudyBusy
from motion_ablation.study.run.status import is_busy

KINDS = ("texts", "latents", "inverted", "embeddings", "videos", "scores")
ARTEFACT = re.compile(r"[0-9a-f]{16}\.safetensors")
LEFTOVER = re.compile(r"\.?[0-9a-f]{16}\.[0-9a-z.]+\.part")  # of a process that was killed while writing
ABANDONED = 3600.0  # seconds after which a half-written file is nobody's any more


@dataclass(frozen=True)
class Waste:
    """Files of a cache that no study needs.

    Attributes:
        needed: number of artefacts that some study needs. files: each with its bytes.
    """

    needed: int
    files: list[tuple[Path, int]]


def find_studies(places: Iterable[str | Path]) -> list[Path]:
    """Folders of studies: ``places`` and those beneath them that hold a ``study.json``, each once."""
    found = {file.parent.resolve(): file.parent for place in places for file in sorted(Path(place).rglob("study.json"))}
    return list(found.values())


def needed_by(studies: Sequence[Path]) -> set[str]:
    """Paths within a cache of all that the runs of studies have read or written there, and of the embeddings that runs still need."""
    needed: set[str] = set()
    for folder in studies:
        needed |= {f"embeddings/{run.embedding}.safetensors" for run in Study.load(folder).runs if run.embedding}
        for uses in folder.rglob(USES):
            needed |= set(uses.read_text(encoding="utf-8").splitlines())
    return needed


def find_waste(cache: Path, studies: Sequence[Path]) -> Waste:
    """What :func:`remove` may take: artefacts that none of ``studies`` needs, and half-written files that nobody writes any more.

    Raises:
        StudyBusy: while one of them is being run, because what it will need is not known yet.
    """
    for folder in studies:
        if is_busy(folder):
            raise StudyBusy(f"{folder} is being run; clean when it has ended")
    needed, found = needed_by(studies), 0
    files: list[tuple[Path, int]] = []
    for path in sorted(path for kind in KINDS for path in (cache / kind).glob("*")):
        size = path.stat().st_size
        if ARTEFACT.fullmatch(path.name):
            if path.relative_to(cache).as_posix() in needed:
                found += 1
            else:
                files.append((path, size))
        elif LEFTOVER.fullmatch(path.name) and time.time() - path.stat().st_mtime > ABANDONED:
            files.append((path, size))
    return Waste(found, files)


def remove(waste: Waste) -> None:
    """Removes the files; nothing else is touched."""
    for path, _ in waste.files:
        path.unlink(missing_ok=True)


def describe_waste(waste: Waste, studies: Sequence[Path], dry_run: bool) -> str:
    """What is removed, by kind, and which studies need the rest, as text; with a dry run also each file."""
    lines = [f"studies: {', '.join(map(str, studies)) or 'none found'}; they need {waste.needed} artefacts"]
    if dry_run:
        lines += [f"  {path} ({in_bytes(size)})" for path, size in waste.files]
    for kind in KINDS:
        sizes = [size for path, size in waste.files if path.parent.name == kind]
        if sizes:
            lines.append(f"{kind}: {len(sizes)} file{'s' * (len(sizes) > 1)}, {in_bytes(sum(sizes))}")
    total = sum(size for _, size in waste.files)
    lines.append(f"{'would remove' if dry_run else 'removed'} {len(waste.files)} files, {in_bytes(total)}")
    return "\n".join(lines)


def in_bytes(size: float) -> str:
    """``512 B``, ``3.5 kB``, ``1.2 GB``."""
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000 or unit == "GB":
            break
        size /= 1000
    return f"{size:.0f} B" if unit == "B" else f"{size:.1f} {unit}"
