"""Forest plots, training curves and frames over time: as files for a paper, and as SVG for the page."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from einops import rearrange
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from torch import Tensor
from torch.nn import functional as F

from motion_ablation.fonts import drawable
from motion_ablation.study.report.comparison import Comparison
from motion_ablation.study.report.formats import heading, signed
from motion_ablation.study.report.model import REFERENCE, CardSection, Film, Report
from motion_ablation.study.report.style import BETTER, COLUMN, CURVES, FAINT, INK, PAPER, UNCLEAR, WORSE, panels, save, styled, svg
from motion_ablation.study.report.videos import data_address, evenly, first_films, image_of, load
from motion_ablation.study.results import higher_is_better

HEAD, ROW = 0.6, 0.17  # inches of a panel: title and axis, each experiment
FRAMES = 6  # of a filmstrip
LINE, LETTERS = 0.13, 18  # inches from line to line, letters to the inch
MARKERS = {"better": ("D", BETTER[0]), "worse": ("s", WORSE[0]), "different": ("^", INK[0])}
DASHES = {"-": "none", "--": "6 3", ":": "2 3", "-.": "6 3 2 3"}


@dataclass(frozen=True)
class Drawing:
    """A picture's ``data:`` address, and what it shows in words."""

    address: str
    words: str


def write_figures(report: Report, folder: Path) -> list[Path]:
    """Writes ``forest-CARD-NOISE`` and ``frames-REFERENCE-NOISE`` (the first prompt and seed), each as PNG and PDF."""
    shutil.rmtree(folder, ignore_errors=True)
    with styled(*(film.prompt for film in report.films), *report.references):
        return [path for stem, figure in _figures(report) for path in save(figure, folder / stem)]


def _figures(report: Report) -> Iterator[tuple[str, Figure]]:
    for section in report.sections:
        for card in section.cards:
            if any(row.drawn for row in card.comparisons):
                yield f"forest-{card.stem}-{section.noise}", forest(card)
    for film in first_films(report.films):
        yield f"frames-{film.reference}-{film.noise}", filmstrips(load(film)[0], film)


def forest(card: CardSection, columns: int = 2) -> Figure:
    """How far each replacement is from its baseline, one panel per metric; call it :func:`styled`."""
    rows, names = _drawn(card)
    figure, axes = panels(len(rows), HEAD + ROW * len(names), columns=columns)
    for index, (own, place) in enumerate(zip(rows.values(), axes, strict=True)):
        forest_panel(place, own, names, labels=index % columns == 0, ticks=3)
    return figure


def forest_drawings(card: CardSection) -> list[Drawing]:
    """The panels of :func:`forest`, each by itself."""
    rows, names = _drawn(card)
    found = []
    for own in rows.values():
        with styled():
            figure, (axes,) = panels(1, HEAD + ROW * len(names))
            forest_panel(axes, own, names)
            found.append(_drawing(figure, forest_words(own, card.baseline)))
    return found


def _drawn(card: CardSection) -> tuple[dict[str, list[Comparison]], list[str]]:
    """What there is to draw, by metric, and the names of the experiments."""
    rows = [row for row in card.comparisons if row.drawn]
    by_metric = {metric: [row for row in rows if row.metric == metric] for metric in dict.fromkeys(row.metric for row in rows)}
    return by_metric, list(dict.fromkeys(row.experiment for row in rows))


def _drawing(figure: Figure, words: str) -> Drawing:
    return Drawing(data_address(svg(figure).encode(), "image/svg+xml"), words)


def forest_panel(axes: Axes, rows: list[Comparison], names: list[str], labels: bool = True, ticks: int = 4) -> None:
    """Draws one metric: a row per experiment, the baseline as the line at zero.

    A full diamond is a difference for the better, a square one for the worse, a triangle one where neither is better, a ring one that is
    not shown; the tinted side is the better one. A difference without an interval is drawn without one.

    Args:
        rows: of one metric. names: of the experiments, from top to bottom. labels: whether to show them. ticks: about how many numbers.
    """
    axes.axvline(0, color=INK[0], linewidth=0.7, zorder=1)
    for row in rows:
        place = names.index(row.experiment)
        marker, color = MARKERS.get(row.tone, ("o", UNCLEAR[0]))
        if row.bounded:
            axes.plot([row.low, row.high], [place, place], color=color, linewidth=1.2, zorder=2, solid_capstyle="butt")
        filled = color if marker != "o" else PAPER[0]
        axes.plot(row.difference, place, marker, color=color, markerfacecolor=filled, markersize=3.6, markeredgewidth=0.9, zorder=3)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.set_yticks(range(len(names)), names if labels else [""] * len(names))
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.xaxis.set_major_locator(MaxNLocator(ticks, steps=[1, 2, 5, 10]))
    axes.set_title(heading(rows[0].metric), loc="left")
    axes.margins(x=0.08)
    low, high = axes.get_xlim()
    reach = max(abs(low), abs(high), 1e-6)
    axes.set_xlim(min(low, -0.15 * reach), max(high, 0.15 * reach))
    higher = higher_is_better(rows[0].metric)
    if higher is not None:
        axes.axvspan(0, axes.get_xlim()[1 if higher else 0], color=FAINT[0], alpha=0.35, linewidth=0, zorder=0)


def forest_words(rows: list[Comparison], baseline: str) -> str:
    """What a panel shows, in words, for who cannot see it."""
    parts = []
    for row in rows:
        interval = f" [{signed(row.low)}, {signed(row.high)}]" if row.bounded else ""
        parts.append(f"{row.experiment} {signed(row.difference)}{interval}, {row.verdict}")
    return f"{heading(rows[0].metric)}: differences from {baseline}. " + "; ".join(parts) + "."


def curve_drawings(report: Report) -> tuple[list[tuple[str, str, str]], list[Drawing]]:
    """The training losses: the key (experiment, colour, dashes), and one panel per reference. The baseline has the ink's colour."""
    others = [name for name in report.experiments if name != report.baseline]
    styles = list(DASHES)
    look = {name: (CURVES[index % len(CURVES)], styles[index // len(CURVES) % len(styles)]) for index, name in enumerate(others)}
    look = {report.baseline: (INK[0], "-"), **look}
    names = {name for lines in report.curves.values() for name, _ in lines}
    key = [(name, "currentColor" if name == report.baseline else look[name][0], DASHES[look[name][1]]) for name in look if name in names]
    pictures = []
    for reference in report.references:
        lines = report.curves.get(reference, [])
        if not lines:
            continue
        with styled(reference):
            figure, (axes,) = panels(1, 2.0)
            for experiment, (steps, values) in lines:
                color, style = look[experiment]
                axes.plot(steps, values, color=color, linestyle=style, marker="." if len(steps) == 1 else "", linewidth=1.1)
            axes.set_xlabel("training step")
            axes.set_ylabel("training loss")
            axes.set_title(drawable(reference), loc="left")
            ends = "; ".join(f"{name} ends at {values[-1]:.4g}" for name, (_, values) in lines if np.isfinite(values[-1]))
            pictures.append(_drawing(figure, f"Training loss on {reference}: {ends}."))
    return key, pictures


def filmstrips(videos: dict[str, Tensor], film: Film, width: float = COLUMN) -> Figure:
    """One row of evenly spaced frames per video, its name beside it; call it :func:`styled`.

    Args:
        videos: ``(f, 3, h, w)`` by name, all shown at the size of the first.
    """
    size = next(iter(videos.values())).shape[-2:]
    columns = min(FRAMES, *map(len, videos.values()))
    label = max(map(len, videos)) / LETTERS + 0.1
    words = textwrap.wrap(f"“{drawable(film.prompt)}”, seed {film.seed}, {film.noise} noise", int(LETTERS * width))
    title = LINE * len(words) + 0.06
    gap = max(1, size[1] // 24)  # white pixels between frames
    strips = [F.pad(evenly(frames, size, columns), (0, gap, 0, gap), value=1.0) for frames in videos.values()]
    picture = torch.cat([rearrange(strip, "f c h w -> c h (f w)") for strip in strips], 1)
    height = (width - label) * picture.shape[1] / picture.shape[2]
    figure = Figure(figsize=(width, height + title))
    figure.set_layout_engine("none")
    axes = figure.add_axes((label / width, 0, 1 - label / width, height / (height + title)))
    axes.imshow(image_of(picture), interpolation="nearest", aspect="auto")
    axes.set_axis_off()
    for index, name in enumerate(videos):
        middle = 1 - (index + 0.5) / len(videos)
        weight = "bold" if name == REFERENCE else "normal"
        axes.text(-0.02, middle, name, transform=axes.transAxes, ha="right", va="center", fontsize=6.5, weight=weight)
    figure.text(0.01, 1, "\n".join(words), ha="left", va="top", fontsize=6.5, linespacing=1.1)
    return figure
