"""Mean scores with their standard errors, over all references and in each part of their set."""

from __future__ import annotations

from statistics import fmean, stdev

import pandas as pd

from motion_ablation.study.plan.study import Study
from motion_ablation.study.report.model import Estimate, Experiment, StrataTable
from motion_ablation.study.results import reference_means


def frame_estimate(frame: pd.DataFrame) -> Estimate | None:
    """Mean of the references' means with its standard error, as the report's notes say. None without any score.

    Args:
        frame: scores of one experiment, metric and initial noise.
    """
    frame = frame[frame["score"].notna()]
    means = reference_means(frame).tolist()
    if not means:
        return None
    trainings = frame.groupby("train_seed")["score"].mean().tolist()
    spread = next((values for values in (means, trainings, frame["score"].tolist()) if len(values) > 1), means)
    error = stdev(spread) / len(spread) ** 0.5 if len(spread) > 1 else None
    return Estimate(fmean(means), error, len(frame), len(means))


def strata_tables(study: Study, own: pd.DataFrame, experiments: dict[str, Experiment]) -> list[StrataTable]:
    """The scores of one initial noise in each part of the references' set, metric by metric; none where a manifest names no parts."""
    if not study.strata:
        return []
    places = zip(own["reference"], own["prompt"], strict=True)
    parts = pd.Series([study.strata.get(reference, {}).get(prompt, "") for reference, prompt in places], own.index, dtype="str")
    names = [name for name in dict.fromkeys(part for each in study.strata.values() for part in each.values()) if name]
    tables = []
    for metric in study.metrics:
        chosen = own["metric"] == metric
        cells = {(name, part): own[chosen & (own["experiment"] == name) & (parts == part)] for name in experiments for part in names}
        rows = [(experiments[name].label, [frame_estimate(cells[name, part]) for part in names]) for name in experiments]
        if any(value for _, values in rows for value in values):
            tables.append(StrataTable(metric, names, rows))
    return tables
