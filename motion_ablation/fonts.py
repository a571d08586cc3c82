"""Fonts that can draw a text: matplotlib's own where it has the characters, else an installed one."""

from __future__ import annotations

import logging
from functools import cache

from matplotlib.font_manager import findfont, fontManager
from matplotlib.ft2font import FT2Font

log = logging.getLogger(__name__)
OWN = "DejaVu Sans"
BOXES = "Last Resort"  # draws a box for every character


@cache
def font_for(text: str) -> tuple[str, str]:
    """Family and file of a font with every character of a text; matplotlib's own, after a warning, if no installed font has them."""
    own = findfont(OWN)
    others = sorted((abs(int(font.weight) - 400), font.name, font.fname) for font in fontManager.ttflist if font.style == "normal")
    for name, file in [(OWN, own), *((name, file) for _, name, file in others)]:
        if not name.startswith(BOXES) and not _lacking(text, file):
            return name, file
    log.warning("no installed font has %s; they are shown as codes. A font such as Noto Sans has them", " ".join(_lacking(text, own)))
    return OWN, own


def drawable(text: str) -> str:
    """The text, with codes such as ``\\u7ea2`` for what :func:`font_for` does not have."""
    lacking = _lacking(text, font_for(text)[1])
    return "".join(char.encode("ascii", "backslashreplace").decode() if char in lacking else char for char in text)


def _lacking(text: str, file: str) -> list[str]:
    return [char for char in dict.fromkeys(text) if not char.isspace() and ord(char) not in _characters(file)]


@cache
def _characters(file: str) -> frozenset[int]:
    return frozenset(FT2Font(file).get_charmap())
