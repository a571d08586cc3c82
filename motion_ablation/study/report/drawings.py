"""The drawings of the report's page, as ``data:`` addresses with their words."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from motion_ablation.study.plan.study import Study
from motion_ablation.study.report.curves import Curve, colors, curves_panel
from motion_ablation.study.report.figures import panels, styled, svg
from motion_ablation.study.report.films import data_address
from motion_ablation.study.report.forest import drawn, forest_panel, forest_words, panel_height

DASHES = {"-": "none", "--": "6 3", ":": "2 3", "-.": "6 3 2 3"}
CURVES_NOTE = (
    "The training loss of every run that learnt, averaged over its past (half-life: a tenth of the training), because it jumps with "
    "the drawn timestep. What was learnt by another run has that run's curve. Losses of different objectives are not comparable."
)


@dataclass(frozen=True)
class Drawing:
    """A picture's address, and what it shows in words."""

    address: str
    words: str


def forests(comparisons: pd.DataFrame) -> list[Drawing]:
    """One panel per metric of a card's and a noise's comparisons."""
    shown = drawn(comparisons)
    names = list(dict.fromkeys(shown["experiment"]))
    found = []
    for metric in dict.fromkeys(shown["metric"]):
        rows = shown[shown["metric"] == metric]
        with styled():
            figure, (axes,) = panels(1, panel_height(names))
            forest_panel(axes, rows, names)
            found.append(Drawing(data_address(svg(figure).encode(), "image/svg+xml"), forest_words(rows)))
    return found


def curves(study: Study, found: dict[str, list[tuple[str, Curve]]]) -> tuple[list[tuple[str, str, str]], list[Drawing]]:
    """The key (experiment, colour, dashes) and one panel per reference."""
    look = colors(study.experiments, study.cards[0].baseline)
    names = {name for lines in found.values() for name, _ in lines}
    key = [
        (name, "currentColor" if name == study.cards[0].baseline else look[name][0], DASHES[look[name][1]])
        for name in look
        if name in names
    ]
    pictures = []
    for reference in study.references:
        if reference not in found:
            continue
        with styled():
            figure, (axes,) = panels(1, 2.0)
            curves_panel(axes, found[reference], look)
            axes.set_title(reference, loc="left")
            picture = data_address(svg(figure).encode(), "image/svg+xml")
        ends = "; ".join(f"{name} ends at {values[-1]:.4g}" for name, (_, values) in found[reference] if np.isfinite(values[-1]))
        pictures.append(Drawing(picture, f"Training loss on {reference}: {ends}."))
    return key, pictures
