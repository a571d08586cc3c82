"""Published rows beside a study's own: what was reproduced, under the same protocol or another, and by how much it differs."""

from __future__ import annotations

import re
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any

from motion_ablation.configure.documents import read_yaml
from motion_ablation.configure.shipped import FOLDER, find_file
from motion_ablation.metrics import METRICS
from motion_ablation.study.markdown import grid
from motion_ablation.study.plan.cards import CardError, experiments_in
from motion_ablation.study.plan.study import Study
from motion_ablation.study.report.estimates import frame_estimate
from motion_ablation.study.report.formats import number, signed
from motion_ablation.study.report.model import Estimate
from motion_ablation.study.results import Results

KEYS = ("name", "source", "setting", "n", "noise", "metrics", "rows")
COLUMNS = ["row", "metric", "published", "ours", "n of ours", "deviation", "protocol"]
TABLES = "tables"


@dataclass(frozen=True)
class Published:
    """A published table.

    Attributes:
        name, source, setting, n: what it is, where it stands, how its videos were made, of how many. noise: the initial noise of ours that
            it is compared with. metrics: by name, what our protocol must say to be the same: each value is a word, or more, of our own.
        rows: each with ``name``, perhaps ``ours`` (the experiment that does the same), and numbers by metric.
    """

    name: str
    source: str
    setting: str
    n: str
    noise: str
    metrics: dict[str, dict[str, Any]]
    rows: list[dict[str, Any]]


def read_published(path: str | Path) -> Published:
    """Reads and checks a table; shipped ones go by their names. Raises :class:`CardError`."""
    file = find_file(path, TABLES)
    if not file.is_file():
        raise CardError(f"{file}: no such table. Shipped: {', '.join(experiments_in(FOLDER / TABLES))}")
    data = read_yaml(file)
    for key in KEYS:
        if not data.get(key):
            raise CardError(f"{file}: lacks {key}; a table has the keys {', '.join(KEYS)}")
    unknown = [key for key in data if key not in KEYS] + [name for name in data["metrics"] if name not in METRICS]
    if unknown:
        raise CardError(f"{file}: '{unknown[0]}' is neither a key of a table nor a metric")
    for row in data["rows"]:
        wrong = [key for key in row if key not in ("name", "ours", *data["metrics"])]
        if "name" not in row or wrong:
            raise CardError(f"{file}: a row needs a name and numbers of {', '.join(data['metrics'])}, not {row}")
    return Published(**data)


def compare(table: Published, study: Study | None = None) -> str:
    """The table as Markdown, with a study's numbers and their deviation where the protocol is the same.

    Args:
        study: what has been run; None shows the published numbers alone.
    """
    results, lines = Results(study) if study else None, []
    for row in table.rows:
        for metric, wanted in table.metrics.items():
            if metric in row:
                published = float(row[metric])
                found = _ours(results, row.get("ours", ""), metric, table.noise) if results else None
                lines.append([row["name"], metric.replace("_", " "), number(published), *_cells(found, published, wanted)])
    about = [f"# {table.name}", f"Source: {table.source}.", f"Setting: {table.setting}. n: {table.n}. Our initial noise: {table.noise}."]
    if study is not None:
        about.append(f"Ours: {study.folder}; references: {', '.join(study.judged)}.")
    end = "Deviation: ours minus published; ± is the standard error of ours alone. Published rows have no interval, so none is tested."
    return "\n\n".join([*about, grid(COLUMNS, lines), end]) + "\n"


def _ours(results: Results, experiment: str, metric: str, noise: str) -> tuple[Estimate, dict[str, Any]] | None:
    """Our mean, and how it was taken; None where there is none."""
    frame = results.frame
    estimate = frame_estimate(frame[(frame["experiment"] == experiment) & (frame["metric"] == metric) & (frame["noise"] == noise)])
    done = results.of(experiment)
    return (estimate, done[0].protocols.get(metric, {})) if estimate and done else None


def _cells(found: tuple[Estimate, dict[str, Any]] | None, published: float, wanted: dict[str, Any]) -> list[str]:
    if found is None:
        return ["–", "–", "–", "not run"]
    estimate, protocol = found
    other = differences(wanted, protocol)
    difference = estimate.mean - published
    relative = f" ({100 * difference / abs(published):+.1f} %)" if published and isfinite(difference) else ""
    deviation = signed(difference) + relative if not other else "not comparable"
    return [str(estimate), f"{estimate.count} videos, {estimate.references} references", deviation, other or "the same"]


def differences(wanted: dict[str, Any], protocol: dict[str, Any]) -> str:
    """Where our protocol is another, in words; empty if all that the table asks for is part of ours."""
    found = [
        f"{key} is {protocol.get(key, 'not stated')}, not {value}"
        for key, value in wanted.items()
        if not re.search(rf"(?<!\w){re.escape(str(value))}(?!\w)", str(protocol.get(key, "")), re.IGNORECASE)
    ]
    return "; ".join(found)
