"""The tables of the report's page: plain text in cells, for the template to escape and to lay out."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from statistics import fmean
from typing import Any

import pandas as pd

from motion_ablation.study.analysis.controls import ITSELF, SHUFFLED
from motion_ablation.study.plan.study import Study
from motion_ablation.study.report.configs import Configuration
from motion_ablation.study.report.forest import tone
from motion_ablation.study.report.table import frame_estimate, heading, label, number, signed
from motion_ablation.study.results import Results


@dataclass(frozen=True)
class TableCell:
    """Text, and how it is meant: ``better``, ``worse``, ``unclear`` or nothing."""

    text: str
    tone: str = ""


@dataclass(frozen=True)
class Grid:
    """A table; the first cell of a row is its heading."""

    caption: str
    header: list[str]
    rows: list[list[TableCell]]


def _grid(caption: str, header: list[str], rows: list[list[str]]) -> Grid:
    return Grid(caption, header, [[TableCell(text) for text in row] for row in rows])


def score_grid(study: Study, frame: pd.DataFrame, metrics: list[str], caption: str) -> Grid:
    """Mean and standard error of every experiment and metric.

    Args:
        frame: scores of one initial noise, with those of the controls.
    """
    frame = frame[frame["metric"].isin(metrics)]
    rows, scored = [], set(frame["experiment"])
    done = {each.experiment for each in Results(study).finished}
    experiments = [name for name in study.experiments if name in scored or name not in done]  # done, but not from this noise: no row
    for name in [*experiments, *(control for control in (ITSELF, SHUFFLED) if (frame["experiment"] == control).any())]:
        own = frame[frame["experiment"] == name]
        values = [frame_estimate(own[own["metric"] == metric]) for metric in metrics]
        title = label(study, name) if name in study.experiments else name
        rows.append([title, *("–" if value is None else str(value) for value in values)])
    return _grid(caption, ["experiment", *map(heading, metrics)], rows)


def difference_grid(comparisons: pd.DataFrame, caption: str) -> Grid:
    """Every comparison of a card and a noise, with all its numbers."""
    rows = []
    for row in comparisons.itertuples():
        texts = [
            str(row.experiment), heading(str(row.metric)), _finite(row.difference, signed), _range(row.low, row.high),
            _finite(row.p, _probability), _finite(row.p_holm, _probability), _finite(row.detectable, number), str(row.references),
            str(row.cells),
        ]  # fmt: skip
        rows.append([*map(TableCell, texts), TableCell(str(row.verdict), tone(str(row.verdict)))])
    header = [
        "experiment", "metric", "difference", "95 % interval", "p", "p (Holm)", "would be found from", "references", "pairs", "verdict",
    ]  # fmt: skip
    return Grid(caption, header, rows)


def _finite(value: float, form: Callable[[float], str]) -> str:
    return form(value) if math.isfinite(value) else "–"


def _range(low: float, high: float) -> str:
    return _finite(high - low, lambda _: f"{signed(low)} to {signed(high)}")


def _probability(value: float) -> str:
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def cost_grid(study: Study) -> Grid:
    """What each experiment took."""
    rows = []
    for experiment in study.experiments:
        owner, runs = study.same_as.get(experiment), study.runs_of(experiment)
        done = [result for name, result in ((each.experiment, each.result) for each in Results(study).finished) if name == experiment]
        if owner:
            rows.append([f"{experiment} (= {owner})", *["shared"] * 6])
            continue
        sizes = dict.fromkeys(f"{result['parameters']['trainable']:,}" for result in done)
        steps = dict.fromkeys(str(result["steps"]) for result in done)
        seconds = [float(result["seconds"]) for result in done]
        times = [f"{fmean(seconds):,.0f}", f"{sum(seconds):,.0f}"] if seconds else ["–", "–"]
        videos = sum(len(result["cells"]) for result in done)
        rows.append([experiment, f"{len(done)} of {len(runs)}", ", ".join(sizes) or "–", ", ".join(steps) or "–", str(videos), *times])
    header = ["experiment", "runs done", "trainable parameters", "steps", "videos", "seconds per run", "seconds in all"]
    return _grid("What each experiment took", header, rows)


def config_grid(config: Configuration) -> Grid:
    """What an experiment changes."""
    return _grid(f"Changes of {config.experiment}", ["key", "default", "here"], [list(change) for change in config.changes])


def version_grid(study: Study) -> Grid:
    """The versions that the results were computed with; several where runs differ."""
    found: dict[str, dict[str, None]] = {}
    for each in Results(study).finished:
        for name, value in {**each.result.get("versions", {}), "backbone": each.result["backbone"]}.items():
            found.setdefault(name, {})[str(value)] = None
    return _grid("Versions", ["package", "version"], [[name, ", ".join(values)] for name, values in found.items()])


def protocol_grid(study: Study) -> Grid:
    """How each metric was taken; several lines where runs differ."""
    found: dict[tuple[str, str], None] = {}
    for each in Results(study).finished:
        for metric, protocol in each.protocols.items():
            found[metric, _words(protocol)] = None
    return _grid("Metrics", ["metric", "protocol"], [[metric.replace("_", " "), words] for metric, words in found])


def _words(protocol: Any) -> str:
    if not isinstance(protocol, dict):
        return str(protocol)
    return "; ".join(
        f"{key.replace('_', ' ')}: {value if isinstance(value, str) else json.dumps(value)}" for key, value in protocol.items()
    )


def plain(markdown: str) -> list[str]:
    """Paragraphs of Markdown without its marks."""
    return [" ".join(part.replace("`", "").replace("**", "").split()) for part in markdown.split("\n\n")]
