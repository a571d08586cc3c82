"""What the figures of a study have in common: type and colours, for paper and for a page that may be dark."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from motion_ablation.files import replacing
from motion_ablation.fonts import OWN, font_for

COLUMN = 3.4  # inches: the width of a column in a paper of two
# On white, and on black; chosen to be told apart in grey and by the colour-blind, with the markers' help.
PAPER = ("#ffffff", "#17171b")
INK = ("#1b1b20", "#e6e6ea")
FAINT = ("#c9c9d1", "#4a4a55")
BETTER = ("#00705a", "#3fc8a4")
WORSE = ("#b8420f", "#f4955f")
UNCLEAR = ("#6e6e7a", "#a3a3b0")
CURVES = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#b8860b", "#56b4e9", "#8a5fbf", "#999999", "#a0522d", "#5f9e3a")
STYLE: Any = {
    "text.parse_math": False,  # prompts and names are shown as they are, dollars too
    **dict.fromkeys(["font.size", "axes.titlesize", "axes.labelsize"], 7),
    **dict.fromkeys(["xtick.labelsize", "ytick.labelsize", "legend.fontsize"], 6.5),
    **dict.fromkeys(["axes.linewidth", "xtick.major.width", "ytick.major.width"], 0.6),
    **dict.fromkeys(["text.color", "axes.labelcolor", "axes.titlecolor", "xtick.labelcolor", "ytick.labelcolor"], INK[0]),
    **dict.fromkeys(["axes.edgecolor", "xtick.color", "ytick.color"], FAINT[0]),
    **dict.fromkeys(["axes.spines.top", "axes.spines.right"], False),
    "lines.linewidth": 1.1,
    **dict.fromkeys(["pdf.fonttype", "ps.fonttype"], 42),  # TrueType: conferences refuse Type 3
    "svg.fonttype": "path",
    "svg.hashsalt": "motion-ablation",  # the same study gives the same file
    "figure.constrained_layout.use": True,
    "figure.constrained_layout.w_pad": 0.06,
}


@contextmanager
def styled(*words: str) -> Iterator[None]:
    """The house's style, for making and for saving figures; ``words`` that its own font lacks come from installed ones that have them."""
    with matplotlib.rc_context({**STYLE, "font.family": list(dict.fromkeys([OWN, *(font_for(text)[0] for text in words)]))}):
        yield


def panels(count: int, height: float, width: float = COLUMN, columns: int = 2) -> tuple[Figure, list[Axes]]:
    """A figure ``width`` inches wide of ``count`` panels of ``height`` inches, ``columns`` to a row; call it :func:`styled`."""
    columns = max(1, min(columns, count))
    rows = -(-count // columns)
    figure = Figure(figsize=(width, height * rows))
    axes = figure.subplots(rows, columns, squeeze=False).ravel().tolist()
    for spare in axes[count:]:
        spare.set_axis_off()
    return figure, axes[:count]


def save(figure: Figure, stem: Path) -> list[Path]:
    """Writes ``stem.png`` (300 dots per inch) and ``stem.pdf``, atomically and without a date; call it :func:`styled`."""
    written = []
    for kind, options in (("png", {"dpi": 300}), ("pdf", {"metadata": {"CreationDate": None}})):
        path = stem.with_name(f"{stem.name}.{kind}")
        with replacing(path) as part:
            figure.savefig(part, format=kind, **options)
        written.append(path)
    return written


def svg(figure: Figure) -> str:
    """The figure as an SVG without a background, whose colours follow the reader's choice of light or dark; call it :func:`styled`."""
    file = io.StringIO()
    figure.savefig(file, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    drawing = re.sub(r"^.*?(?=<svg)|<metadata>.*?</metadata>", "", file.getvalue(), flags=re.S)
    names = {pair: f"--c{index}" for index, pair in enumerate((PAPER, INK, FAINT, BETTER, WORSE, UNCLEAR))}
    for pair, name in names.items():
        drawing = drawing.replace(pair[0], f"var({name})")
    light, dark = (";".join(f"{name}:{pair[index]}" for pair, name in names.items()) for index in (0, 1))
    style = f"<style>:root{{{light}}}@media(prefers-color-scheme:dark){{:root{{{dark}}}}}</style>"
    head, body = drawing.split(">", 1)
    return f"{head}>{style}{body}"
