"""Files: written whole or not at all, JSON that any reader takes, and locks between processes."""

from __future__ import annotations

import errno
import json
import math
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

from filelock import FileLock, lock_descriptor

WITHOUT_LOCKS = (errno.ENOSYS, errno.ENOTSUP, errno.ENOLCK)  # what a file system answers that has no locks


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Yields a temporary path beside ``path``, whose folder is made; it takes the place of ``path`` once the block has succeeded."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{uuid4().hex[:8]}.part")
    try:
        yield part
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def to_json(data: Any) -> str:
    """Plain data as strict JSON, indented, with a newline at its end: a float that is no finite number is null, a path is its text."""
    return json.dumps(_strict(data), indent=1, default=str, allow_nan=False) + "\n"


def write_json(path: str | Path, data: Any) -> None:
    """Writes :func:`to_json` of plain data, whole or not at all."""
    with replacing(path) as part:
        part.write_text(to_json(data), encoding="utf-8")


def read_json(path: str | Path) -> Any:
    """What a JSON file holds. Raises ``OSError`` where there is none, ``ValueError`` naming it where it is not JSON."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is not a JSON file: {error}") from error


def _strict(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _strict(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_strict(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


@contextmanager
def locked(path: str | Path, wait: float = -1.0, remove: bool = False) -> Iterator[None]:
    """Keeps every other process, and thread, out of the block under this path. The lock goes with its process, however that ends.

    A file system without locks lets everyone in.

    Args:
        path: the lock's file, made where there is none. wait: seconds to wait for its turn; negative is for ever.
        remove: delete the file at the end of the block. Who waits for it then makes a new one.

    Raises:
        TimeoutError: if another has had it for ``wait`` seconds. OSError: if the file cannot be made.
    """
    lock = FileLock(path, fallback_to_soft=False)  # a soft lock would outlive a killed process
    try:
        lock.acquire(timeout=wait, poll_interval=0.01)
    except NotImplementedError:
        pass
    except OSError as error:
        if error.errno not in WITHOUT_LOCKS:
            raise
    try:
        yield
    finally:
        if remove:
            Path(path).unlink(missing_ok=True)
        lock.release()


def is_locked(path: str | Path) -> bool:
    """Whether someone is in a block of :func:`locked` under this path. Needs no right to write."""
    try:
        with Path(path).open() as file:
            return not lock_descriptor(file.fileno(), blocking=False)
    except OSError:  # no such file, or no locks
        return False
