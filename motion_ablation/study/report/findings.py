"""Comparisons as sentences."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import pandas as pd

from motion_ablation.study.analysis.statistics import MISSING, ONLY, SAME, UNSURE
from motion_ablation.study.report.forest import tone
from motion_ablation.study.report.table import number, signed, smallest


@dataclass(frozen=True)
class Part:
    """A clause, and what it tells of: something ``better``, ``worse`` or just ``different``, or nothing that is shown (empty)."""

    text: str
    tone: str = ""


@dataclass(frozen=True)
class Finding:
    """What may be said of an experiment against its baseline."""

    experiment: str
    parts: list[Part]


def findings(comparisons: pd.DataFrame) -> list[Finding]:
    """One finding per experiment: what is shown first, then what is not, in brackets the smallest difference that would have been found.

    Args:
        comparisons: of one card and one initial noise.
    """
    return [Finding(str(experiment), _parts(rows)) for experiment, rows in comparisons.groupby("experiment", sort=False)]


def _parts(rows: pd.DataFrame) -> list[Part]:
    shown, unsure, missing = [], [], []
    for row in rows.itertuples():
        name = str(row.metric).replace("_", " ")
        if row.verdict == SAME:
            return [Part(f"the same runs as {row.baseline}")]
        if row.verdict == MISSING:
            missing.append(name)
        elif str(row.verdict).startswith(UNSURE):
            unsure.append(f"{name}{row.verdict.removeprefix(UNSURE).removesuffix(ONLY)} ({smallest(row._asdict())})")
        else:
            shown.append(Part(f"{name} {row.verdict.removesuffix(ONLY)} by {number(abs(row.difference))}{_interval(row)}", _mark(row)))
    parts = shown
    if unsure:
        parts.append(Part(f"{UNSURE} in {', '.join(unsure)}"))
    if missing:
        parts.append(Part(f"{MISSING} for {', '.join(missing)}"))
    return parts


def _mark(row: Any) -> str:
    return tone(str(row.verdict))


def _interval(row: Any) -> str:
    if not (math.isfinite(row.low) and math.isfinite(row.high)):
        return ""
    return f" (95 % interval of the difference {signed(row.low)} to {signed(row.high)})"
