"""Tensors on disk, addressed by what determines them, so that nothing is computed twice."""

from __future__ import annotations

import fcntl
import hashlib
import json
import logging
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

Tensors = dict[str, Tensor]
log = logging.getLogger(__name__)


def content_hash(value: Any) -> str:
    """Hash of a tensor's values and shape, or of anything that JSON can hold; 16 hex digits."""
    digest = hashlib.sha256()
    if isinstance(value, Tensor):
        digest.update(f"{value.dtype} {tuple(value.shape)}".encode())
        digest.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    else:
        digest.update(json.dumps(value, sort_keys=True).encode())
    return digest.hexdigest()[:16]


def files_hash(place: Path) -> str:
    """Hash of a file's content, or of those of all files in a folder with their places; 16 hex digits, empty where nothing is."""
    files = sorted(path for path in place.rglob("*") if path.is_file()) if place.is_dir() else [place] if place.is_file() else []
    return (
        content_hash([[file.relative_to(place).as_posix(), _file_hash(file, file.stat().st_mtime_ns)] for file in files]) if files else ""
    )


@cache
def _file_hash(file: Path, changed: int) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()[:16]


def checksum(tensors: Tensors) -> str:
    """Hash of named tensors: names, types, shapes and every byte; 16 hex digits."""
    return content_hash({name: content_hash(tensor) for name, tensor in tensors.items()})


class Artefacts:
    """A folder of safetensors files, each named by the hash of its recipe. Any number of processes may share it.

    Files appear whole or not at all, carry a checksum of their tensors that is verified whenever one is read, and are computed by one
    process at a time: others wait for it, where the file system has locks.

    Args:
        folder: made when first written to.

    Attributes:
        uses: a text file to which the place of everything that is asked for is added, one line each; None keeps no record.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self.uses: Path | None = None

    def get(self, kind: str, recipe: dict[str, Any] | str, compute: Callable[[], Tensors]) -> Tensors:
        """The artefact of this kind and recipe: read if it is there and whole, else computed and written.

        Args:
            recipe: all that determines it, or a hash thereof.

        Raises:
            OSError: if it cannot be written; the message says where and what to do.
        """
        return self.get_all(kind, [recipe], lambda missing: [compute()])[0]

    def get_all(
        self, kind: str, recipes: Sequence[dict[str, Any] | str], compute: Callable[[list[int]], Sequence[Tensors]]
    ) -> list[Tensors]:
        """Like :meth:`get` for several at once.

        Args:
            compute: is given the indices of those that are missing, if any, and returns their tensors.
        """
        paths = [self._path(kind, recipe) for recipe in recipes]
        self._note(paths)
        first = {path: index for index, path in reversed(list(enumerate(paths)))}
        found = {path: tensors for path in first if (tensors := _read(path)) is not None}
        if len(found) < len(first):
            with ExitStack() as held:
                for path in sorted(first.keys() - found.keys()):  # in one order everywhere, so that no two wait for each other
                    held.enter_context(_alone(path))
                found |= {path: tensors for path in first.keys() - found.keys() if (tensors := _read(path)) is not None}
                missing = [path for path in first if path not in found]
                computed = compute([first[path] for path in missing]) if missing else []
                for path, tensors in zip(missing, computed, strict=True):
                    found[path] = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
                _write({path: found[path] for path in missing}, {path: recipes[first[path]] for path in missing})
        return [found[path] for path in paths]

    def _path(self, kind: str, recipe: dict[str, Any] | str) -> Path:
        return self.folder / kind / f"{recipe if isinstance(recipe, str) else content_hash(recipe)}.safetensors"

    def _note(self, paths: list[Path]) -> None:
        if self.uses is not None:
            with self.uses.open("a", encoding="utf-8") as file:
                file.write("".join(f"{path.relative_to(self.folder).as_posix()}\n" for path in paths))


def _read(path: Path) -> Tensors | None:
    """An artefact's tensors; None if it is not there, or damaged, which is said."""
    if not path.exists():
        return None
    try:
        with safe_open(path, "pt") as file:
            expected = (file.metadata() or {}).get("checksum")
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        log.warning("%s is damaged (%s); it is computed again", path, error)
        return None
    if checksum(tensors) != expected:
        log.warning("%s is damaged (its tensors do not match its checksum); it is computed again", path)
        return None
    return tensors


def _write(artefacts: dict[Path, Tensors], recipes: dict[Path, dict[str, Any] | str]) -> None:
    """Writes artefacts, first all beside their places, then all into them."""
    parts = {path: path.with_suffix(f".{os.getpid()}.part") for path in artefacts}
    path = Path()
    try:
        for path, tensors in artefacts.items():
            save_file(tensors, parts[path], metadata={"recipe": json.dumps(recipes[path]), "checksum": checksum(tensors)})
        for path, part in parts.items():
            os.replace(part, path)
    except (SafetensorError, OSError) as error:
        raise _unwritable(path, error) from error
    finally:
        for part in parts.values():
            with suppress(OSError):
                part.unlink(missing_ok=True)


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Keeps other processes from computing the same, for as long as the block, or this process, lasts."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.with_suffix(".lock").open("w")
    except OSError as error:
        raise _unwritable(path, error) from error
    with file:
        with suppress(OSError):  # a file system without locks: the same may be computed twice, and is as good
            fcntl.flock(file, fcntl.LOCK_EX)
        try:
            yield
        finally:
            path.with_suffix(".lock").unlink(missing_ok=True)


def _unwritable(path: Path, error: BaseException) -> OSError:
    return OSError(f"cannot write {path}: {error}; free some space or set model.cache to another folder")
