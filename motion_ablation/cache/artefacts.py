"""Tensors on disk, addressed by what determines them, so that nothing is computed twice."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from motion_ablation.cache.stores import open_store

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
    """A store of safetensors files, each named by the hash of its recipe. Any number of processes may share it.

    Files appear whole or not at all, carry a checksum of their tensors that is verified whenever one is read, and are computed by one
    process at a time: others wait for it, where the store has locks.

    Args:
        place: a folder, made when first written to, or a URL such as ``s3://bucket/cache``; see :mod:`motion_ablation.cache.stores`.

    Attributes:
        uses: a text file to which the place of everything that is asked for is added, one line each; None keeps no record.
    """

    def __init__(self, place: str | Path) -> None:
        self.store = open_store(place)
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
        keys = [f"{kind}/{recipe if isinstance(recipe, str) else content_hash(recipe)}.safetensors" for recipe in recipes]
        if self.uses is not None:
            with self.uses.open("a", encoding="utf-8") as file:
                file.write("".join(f"{key}\n" for key in keys))
        first = {key: keys.index(key) for key in keys}
        found = {key: tensors for key in first if (tensors := self._read(key)) is not None}
        if len(found) < len(first):
            with ExitStack() as held:
                for key in sorted(first.keys() - found.keys()):  # in one order everywhere, so that no two wait for each other
                    self._enter(held, key)
                found |= {key: tensors for key in first.keys() - found.keys() if (tensors := self._read(key)) is not None}
                missing = [key for key in first if key not in found]
                computed = compute([first[key] for key in missing]) if missing else []
                for key, tensors in zip(missing, computed, strict=True):
                    found[key] = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
                self._write({key: found[key] for key in missing}, {key: recipes[first[key]] for key in missing})
        return [found[key] for key in keys]

    def _read(self, key: str) -> Tensors | None:
        """An artefact's tensors; None if it is not there, or damaged, which is said."""
        try:
            value = self.store.read(key)
            if value is None:
                return None
            tensors = load(value)
            expected = _metadata(value).get("checksum")
        except (SafetensorError, OSError) as error:
            log.warning("%s is damaged (%s); it is computed again", self.store.name(key), error)
            return None
        if checksum(tensors) != expected:
            log.warning("%s is damaged (its tensors do not match its checksum); it is computed again", self.store.name(key))
            return None
        return tensors

    def _write(self, artefacts: dict[str, Tensors], recipes: dict[str, dict[str, Any] | str]) -> None:
        values = {
            key: save(tensors, metadata={"recipe": json.dumps(recipes[key]), "checksum": checksum(tensors)})
            for key, tensors in artefacts.items()
        }
        try:
            self.store.write(values)
        except OSError as error:
            raise self._unwritable(next(iter(values)), error) from error

    def _enter(self, held: ExitStack, key: str) -> None:
        """Keeps other processes from computing the same, for as long as ``held``, or this process, lasts."""
        try:
            held.enter_context(self.store.alone(key))
        except OSError as error:
            raise self._unwritable(key, error) from error

    def _unwritable(self, key: str, error: OSError) -> OSError:
        return OSError(f"cannot write {self.store.name(key)}: {error}; free some space or set model.cache to another folder")


def _metadata(value: bytes) -> dict[str, str]:
    """The header's notes of a safetensors file, as the format has it: eight bytes of length, then JSON."""
    length = int.from_bytes(value[:8], "little")
    found: dict[str, str] = json.loads(value[8 : 8 + length]).get("__metadata__") or {}
    return found
