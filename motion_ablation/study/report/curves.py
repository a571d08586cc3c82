"""Training curves, from the losses that the runs wrote into their results."""

from __future__ import annotations

from math import isfinite

import numpy as np

from motion_ablation.callbacks.training import thinned
from motion_ablation.study.plan.run import Run
from motion_ablation.study.plan.study import Study

POINTS = 120
HALF_LIFE = 0.1  # of the whole curve

Curve = tuple[np.ndarray, np.ndarray]


def curve_of(run: Run) -> Curve | None:
    """A run's loss curve, from its ``result.json``; None if it has none."""
    told = (run.result() or {}).get("loss") or {"steps": [], "values": []}
    points = [(step, value) for step, value in zip(told["steps"], told["values"], strict=True) if value is not None and isfinite(value)]
    if not points:
        return None
    steps, values = zip(*points, strict=True)
    return np.array(steps, float), np.array(values, float)


def smoothed(values: np.ndarray, half_life: float = HALF_LIFE) -> np.ndarray:
    """Exponential mean over the past, ``(n,)`` as given, without the pull towards zero at its beginning.

    Args:
        half_life: after which share of the curve a value counts half.
    """
    weight = 0.5 ** (1 / max(half_life * len(values), 1e-9))
    result, total, mean = [], 0.0, 0.0
    for value in values:
        mean, total = weight * mean + (1 - weight) * value, weight * total + (1 - weight)
        result.append(mean / total)
    return np.array(result)


def training_curves(study: Study) -> dict[str, list[tuple[str, Curve]]]:
    """Experiments and their curves by reference, thinned and smoothed; one curve per training, so several with several training seeds.

    Runs that learnt nothing have none; one that took what another had learnt has that training's; one that failed has its first steps.
    """
    found: dict[str, list[tuple[str, Curve]]] = {}
    for run in study.runs:
        curve = curve_of(run) if run.trains else None
        if curve is not None:
            steps, values = thinned(*curve, POINTS)
            found.setdefault(run.reference, []).append((run.experiment, (steps, smoothed(values))))
    return found
