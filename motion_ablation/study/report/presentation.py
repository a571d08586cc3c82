"""Scores as the tables show them: with their control rows, rescaled between floor and ceiling, or beyond the backbone without motion."""

from __future__ import annotations

from dataclasses import dataclass, field

import pandas as pd

from motion_ablation.metrics import METRICS
from motion_ablation.records import CELL
from motion_ablation.study.analysis.controls import ITSELF, SHUFFLED, Controls, Scale
from motion_ablation.study.plan.cards import PLAIN
from motion_ablation.study.plan.study import Study
from motion_ablation.study.report.formats import RAW
from motion_ablation.study.results import Results, noises_of

MANY_LOST = 0.5


@dataclass(frozen=True)
class Shown:
    """What tables are made from.

    Attributes:
        frame: scores with the columns of :func:`motion_ablation.study.results.Results.frame`, control rows included. A metric that is not
            shown as it was scored has its scores under ``METRIC (raw)`` too. scales: of the rescaled metrics, by metric and noise.
        notes: how to read what is not raw, and what is missing.
    """

    frame: pd.DataFrame
    scales: dict[tuple[str, str], Scale] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def columns(self, metrics: list[str], noise: str) -> list[str]:
        """The metrics with, behind each that is not shown as it was scored, its raw column."""
        taken = set(self.frame.loc[self.frame["noise"] == noise, "metric"])
        return [name for metric in metrics for name in (metric, metric + RAW) if name == metric or name in taken]

    def comparisons(self, compared: pd.DataFrame) -> pd.DataFrame:
        """Comparisons in the units of the tables: of a rescaled metric, ``unit``s of the raw one."""
        units = [
            1 / (self.scales[key].ceiling - self.scales[key].floor) if key in self.scales else 1.0
            for key in zip(compared["metric"], compared["noise"], strict=True)
        ]
        numbers = ["difference", "low", "high", "detectable"]
        return compared.assign(unit=units, **{name: compared[name] * units for name in numbers})


def shown(study: Study, frame: pd.DataFrame, controls: Controls) -> Shown:
    """The scores of a study with its controls, as the tables show them.

    Args:
        frame: of :attr:`motion_ablation.study.results.Results.frame`.
    """
    rows = pd.concat([part for part in (frame, controls.frame) if len(part)] or [frame], ignore_index=True)
    scales: dict[tuple[str, str], Scale] = {}
    notes = [*controls.notes]
    parts = [rows]
    own_noise = next(iter(noises_of(frame.loc[frame["experiment"] == study.cards[0].baseline, "noise"])), "")
    for metric in study.metrics:
        name = metric.replace("_", " ")
        for noise in noises_of(frame["noise"]) if METRICS[metric].rescales else []:
            # From a noise that the baseline does not have, its own first one tells where 0 and 1 are.
            theirs = next((name for name in (noise, own_noise) if controls.scale(metric, name) is not None), noise)
            scale = controls.scale(metric, theirs)
            if scale is None:
                notes.append(f"{name} is shown as it was scored under {noise} noise: rescaling needs both of its control rows.")
                continue
            scales[metric, noise] = scale
            own = (rows["metric"] == metric) & (rows["noise"] == noise)
            parts.append(rows[own].assign(metric=metric + RAW))
            rows.loc[own, "score"] = [scale(score) for score in rows.loc[own, "score"]]
            floor = SHUFFLED if theirs == noise else f"{SHUFFLED} from {theirs} noise"
            notes.append(
                f"{name}, {noise} noise: 0 is the mean of '{floor}' ({scale.floor:.3f}), 1 that of '{ITSELF}' ({scale.ceiling:.3f})."
            )
        if METRICS[metric].beyond_floor and len(raw := rows[rows["metric"] == metric]):
            if not (raw["experiment"] == PLAIN).any():
                notes.append(f"{name} is shown as it was scored: `{PLAIN}`, beyond which it is to be shown, has no result.")
                continue
            parts.append(raw.assign(metric=metric + RAW))
            rows.loc[raw.index, "score"] = _beyond_floor(raw)
            notes.append(f"{name} is shown as the difference from what `{PLAIN}` scores on the same cell.")
    parts[0] = rows
    return Shown(pd.concat(parts, ignore_index=True) if len(parts) > 1 else rows, scales, notes)


def _beyond_floor(rows: pd.DataFrame) -> pd.Series:
    """Each score of a metric minus the plain backbone's on the same cell; NaN where that has no such cell."""
    keys = rows.assign(seed=rows["seed"].fillna(-1))
    plain = keys[keys["experiment"] == PLAIN].groupby(list(CELL))["score"].mean().rename("plain")
    beyond = rows["score"] - keys.join(plain, on=list(CELL))["plain"]
    return beyond.where(rows["experiment"] != SHUFFLED)  # the backbone on the same cell was scored against another reference


def cautions(results: Results) -> list[str]:
    """What the runs' protocols say against the study's metrics: warnings, and tracks that were lost on the way."""
    found: dict[str, list[str]] = {}
    lost: dict[str, list[float]] = {}
    for each in results.finished:
        for metric, protocol in each.protocols.items():
            if metric in results.study.metrics:
                found.setdefault(metric, []).extend([protocol["warning"]] if "warning" in protocol else [])
                lost.setdefault(metric, []).extend([protocol["lost_tracks"]] if "lost_tracks" in protocol else [])
    notes = [f"{metric.replace('_', ' ')}: {warning}." for metric, warnings in found.items() for warning in dict.fromkeys(warnings)]
    for metric, shares in lost.items():
        if shares and max(shares) > MANY_LOST:
            name, range_of = metric.replace("_", " "), f"{min(shares):.0%} to {max(shares):.0%}"
            notes.append(f"{name}: {range_of} of a run's tracks were lost on the way; where most are, little of its videos was judged.")
    return notes
