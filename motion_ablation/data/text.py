"""Text files that people write beside their videos."""

from __future__ import annotations

from pathlib import Path


def read_text(path: Path) -> str:
    """A text file's content; the byte-order mark that some editors write is not part of it. Raises ``ValueError`` for other encodings."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise ValueError(f"{path}: is not UTF-8 text; save it as UTF-8") from None
