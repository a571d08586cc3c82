"""How numbers, names and text are written in the report's tables and sentences."""

from __future__ import annotations

import unicodedata
from math import isfinite

from motion_ablation.study.markdown import grid
from motion_ablation.study.results import higher_is_better

SPECIAL = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#", "%": r"\%", "_": r"\_",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}", '"': "''",
    "±": r"$\pm$", "×": r"$\times$", "–": "--", "—": "---", "“": "``", "”": "''", "‘": "`", "’": "'", "·": r"$\cdot$",
    "↑": r"$\uparrow$", "↓": r"$\downarrow$", "→": r"$\rightarrow$", "…": r"\ldots{}", "−": r"$-$",
}  # fmt: skip


def number(value: float) -> str:
    """Three decimals, or one for large numbers; what rounds to zero has no sign; a dash for what is not known."""
    if not isfinite(value):
        return "–"
    text = f"{value:.3f}" if abs(value) < 100 else f"{value:.1f}"
    return text if text.strip("-0.") else text.lstrip("-")


def signed(value: float) -> str:
    """A number with its sign."""
    text = number(value)
    return f"+{text}" if value > 0 and text.strip("0.") else text


def coarse(value: float) -> str:
    """A number that is known roughly: one significant digit."""
    return f"{float(f'{value:.1g}'):g}" if isfinite(value) else "–"


def probability(value: float) -> str:
    """A p-value."""
    return "< 0.001" if value < 0.001 else number(value)


def heading(metric: str) -> str:
    """A metric's column title: its name, with an arrow that tells which way is better; none where neither is."""
    higher = higher_is_better(metric)
    arrow = "" if higher is None else "↑" if higher else "↓"
    return f"{metric.replace('_', ' ')} {arrow}".rstrip()


def anchor(text: str) -> str:
    """A name as part of an address within the page or the paper: letters, digits and dashes."""
    return "".join(character if character.isalnum() and character.isascii() else "-" for character in text)


def paragraphs(markdown: str) -> list[str]:
    """Paragraphs of Markdown without its marks."""
    return [" ".join(part.replace("`", "").replace("**", "").split()) for part in markdown.split("\n\n")]


def aligned(lines: str) -> str:
    """A Markdown table, whose columns line up, of lines of cells with `` | `` between them; the first line is the header."""
    header, *rows = (line.split(" | ") for line in lines.strip().splitlines())
    return grid(header, rows)


def latex(text: str) -> str:
    """Text that LaTeX prints as it is, without any package; what its fonts lack becomes its nearest ASCII, or ``?``."""
    return "".join(SPECIAL.get(character) or _printable(character) for character in " ".join(text.split()))


def _printable(character: str) -> str:
    if character.isascii() or ("À" <= character <= "ÿ" and character.isalpha() and character not in "ÐÞðþ"):
        return character
    near = unicodedata.normalize("NFKD", character).encode("ascii", "ignore").decode()
    return "".join(SPECIAL.get(part, part) for part in near) or "?"
