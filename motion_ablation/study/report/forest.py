"""Forest plots: how far each replacement is from its baseline, with the interval, one panel per metric."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from motion_ablation.study.analysis.statistics import MISSING, SAME
from motion_ablation.study.report.figures import BETTER, FAINT, INK, PAPER, UNCLEAR, WORSE, panels
from motion_ablation.study.report.table import baseline_of, heading, signed
from motion_ablation.study.results import higher_is_better

ROW = 0.17  # inches
MARKERS = {"better": ("D", BETTER[0]), "worse": ("s", WORSE[0]), "different": ("^", INK[0])}


def forest(comparisons: pd.DataFrame, columns: int = 2) -> Figure:
    """One panel per metric of ``comparisons``, which are :func:`drawn` of one card and one noise; see :func:`forest_panel`."""
    metrics = list(dict.fromkeys(comparisons["metric"]))
    names = list(dict.fromkeys(comparisons["experiment"]))
    figure, axes = panels(len(metrics), panel_height(names), columns=columns)
    for index, (metric, place) in enumerate(zip(metrics, axes, strict=True)):
        forest_panel(place, comparisons[comparisons["metric"] == metric], names, labels=index % columns == 0, ticks=3)
    return figure


def drawn(comparisons: pd.DataFrame) -> pd.DataFrame:
    """The comparisons that there is something to draw of."""
    return comparisons[np.isfinite(comparisons["difference"]) & ~comparisons["verdict"].isin([SAME, MISSING])]


def panel_height(names: list[str]) -> float:
    """Inches that a panel needs for so many experiments."""
    return 0.6 + ROW * max(1, len(names))


def forest_panel(axes: Axes, rows: pd.DataFrame, names: list[str], labels: bool = True, ticks: int = 4) -> None:
    """Draws one metric: a row per experiment, the baseline as the line at zero.

    A full diamond is a difference for the better, a square one for the worse, a triangle one where neither is better, a ring one
    that is not shown; the tinted side is the better
    one. A difference without an interval is drawn without one.

    Args:
        rows: of :func:`drawn`, of one metric. names: of the experiments, from top to bottom. labels: whether to show them.
        ticks: about how many numbers to show.
    """
    metric = str(rows["metric"].iloc[0])
    axes.axvline(0, color=INK[0], linewidth=0.7, zorder=1)
    for row in rows.itertuples():
        place = names.index(str(row.experiment))
        marker, color = MARKERS.get(tone(str(row.verdict)), ("o", UNCLEAR[0]))
        if math.isfinite(row.low) and math.isfinite(row.high):
            axes.plot([row.low, row.high], [place, place], color=color, linewidth=1.2, zorder=2, solid_capstyle="butt")
        filled = color if marker != "o" else PAPER[0]
        axes.plot(row.difference, place, marker, color=color, markerfacecolor=filled, markersize=3.6, markeredgewidth=0.9, zorder=3)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.set_yticks(range(len(names)), names if labels else [""] * len(names))
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.xaxis.set_major_locator(MaxNLocator(ticks, steps=[1, 2, 5, 10]))
    axes.set_title(heading(metric), loc="left")
    axes.margins(x=0.08)
    low, high = axes.get_xlim()
    reach = max(abs(low), abs(high), 1e-6)
    axes.set_xlim(min(low, -0.15 * reach), max(high, 0.15 * reach))
    higher = higher_is_better(metric)
    if higher is not None:
        axes.axvspan(0, axes.get_xlim()[1 if higher else 0], color=FAINT[0], alpha=0.35, linewidth=0, zorder=0)


def tone(verdict: str) -> str:
    """``better``, ``worse`` or ``different`` (where neither is better) for what is shown, ``unclear`` for any other verdict."""
    tones = {"better": "better", "worse": "worse", "higher": "different", "lower": "different"}
    return next((found for word, found in tones.items() if verdict.startswith(word)), "unclear")


def forest_words(rows: pd.DataFrame) -> str:
    """What a panel shows, in words, for who cannot see it."""
    parts = []
    for row in rows.itertuples():
        interval = f" [{signed(row.low)}, {signed(row.high)}]" if math.isfinite(row.low) and math.isfinite(row.high) else ""
        parts.append(f"{row.experiment} {signed(row.difference)}{interval}, {row.verdict}")
    return f"{heading(str(rows['metric'].iloc[0]))}: differences from {baseline_of(rows)}. " + "; ".join(parts) + "."
