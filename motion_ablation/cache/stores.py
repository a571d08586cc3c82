"""Where bytes are kept by key, whole or not at all: a folder, or a store that fsspec knows by its URL."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

from motion_ablation.files import locked, replacing


class Store(ABC):
    """Values by key, such as ``latents/0123.safetensors``; any number of processes may share one. Raises ``OSError`` where it fails."""

    @abstractmethod
    def read(self, key: str) -> bytes | None:
        """A key's value; None if it has none."""

    @abstractmethod
    def write(self, values: dict[str, bytes]) -> None:
        """Keeps values: first all under temporary keys, then each moved to its own. A reader sees a value whole or not at all."""

    @abstractmethod
    def alone(self, key: str) -> Any:
        """A block in which no other process is alone with this key, as far as the store can tell."""

    @abstractmethod
    def name(self, key: str) -> str:
        """Where a key is, for people."""


class Folder(Store):
    """Files of a folder, which is made when first written to. Moves are atomic, and locks hold wherever the file system has them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def name(self, key: str) -> str:
        return str(self.folder / key)

    def read(self, key: str) -> bytes | None:
        path = self.folder / key
        return path.read_bytes() if path.exists() else None

    def write(self, values: dict[str, bytes]) -> None:
        with ExitStack() as parts:
            for key, value in values.items():
                parts.enter_context(replacing(self.folder / key)).write_bytes(value)

    @contextmanager
    def alone(self, key: str) -> Iterator[None]:
        """Lasts as long as the block, or this process. A file system without locks lets everyone in."""
        lock = (self.folder / key).with_suffix(".lock")
        lock.parent.mkdir(parents=True, exist_ok=True)
        with locked(lock, remove=True):
            yield


class Remote(Store):
    """Objects of any fsspec file system, such as ``s3://bucket/cache``.

    There are no locks: two processes may compute the same value, and the one that is moved last stays. A move is atomic in object
    stores, where it is a copy of a whole object; where it is not, the checksum of an artefact that is being overwritten does not match, and
    it is computed once more.

    Args:
        url: as fsspec has it, chains such as ``dir::file:///shared`` included.

    Raises:
        ValueError: for a protocol that fsspec does not know, or whose package is not installed.
    """

    def __init__(self, url: str) -> None:
        import fsspec

        try:
            self.files, root = fsspec.url_to_fs(url)
        except (ValueError, ImportError) as error:
            raise ValueError(f"model.cache: {url}: {error}") from error
        self.url, self.root = url, "" if getattr(self.files, "path", None) == root else root  # a dir:: store is below its root already

    def name(self, key: str) -> str:
        return f"{self.url.rstrip('/')}/{key}"

    def _place(self, key: str) -> str:
        return f"{self.root.rstrip('/')}/{key}" if self.root else key

    def read(self, key: str) -> bytes | None:
        try:
            value: bytes = self.files.cat_file(self._place(key))
        except FileNotFoundError:
            return None
        return value

    def write(self, values: dict[str, bytes]) -> None:
        parts = {self._place(key): self._place(f"{key}.{uuid4().hex}.part") for key in values}
        try:
            for (place, part), value in zip(parts.items(), values.values(), strict=True):
                self.files.makedirs(place.rpartition("/")[0], exist_ok=True)
                self.files.pipe_file(part, value)
            for place, part in parts.items():
                self.files.mv(part, place)
        finally:
            for part in parts.values():
                with suppress(OSError):
                    self.files.rm_file(part)

    @contextmanager
    def alone(self, key: str) -> Iterator[None]:
        """Lets everyone in."""
        yield


def open_store(place: str | Path) -> Store:
    """The store at a folder or, if it has a protocol (``s3://``, ``memory://``, ``dir::``), a URL; ``file:///`` is a folder too."""
    text = str(place)
    if text.startswith("file://"):
        return Folder(Path(text.removeprefix("file://")))
    return Remote(text) if isinstance(place, str) and ("://" in text or "::" in text) else Folder(Path(place).expanduser())
