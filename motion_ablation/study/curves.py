"""Training curves, read from the event files that the runs wrote for TensorBoard."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes

from motion_ablation.study.figures import CURVES, INK
from motion_ablation.study.plan import Study

TAG = "train/loss"
POINTS = 120
HALF_LIFE = 0.1  # of the whole curve

Curve = tuple[np.ndarray, np.ndarray]


def read_curve(folder: Path, tag: str = TAG) -> Curve | None:
    """Steps and values of a scalar that a run logged; None if it logged none, or if its files cannot be read."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.compat.tensorflow_stub.errors import OpError

    if not any(folder.glob("events.out.tfevents.*")):
        return None
    keep = {"scalars": 0, "images": 1, "audio": 1, "histograms": 1, "compressedHistograms": 1, "tensors": 1}
    try:
        scalars = EventAccumulator(str(folder), size_guidance=keep).Reload().Scalars(tag)
    except (KeyError, OSError, ValueError, OpError):
        return None
    steps, values = (np.array([getattr(scalar, name) for scalar in scalars], float) for name in ("step", "value"))
    finite = np.isfinite(values)
    return (steps[finite], values[finite]) if finite.any() else None


def thinned(curve: Curve, points: int = POINTS) -> Curve:
    """At most ``points`` points, each the mean of its share of the curve."""
    if len(curve[0]) <= points:
        return curve
    steps, values = ([part.mean() for part in np.array_split(line, points)] for line in curve)
    return np.array(steps), np.array(values)


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

    Runs that learnt nothing, or took what another run had learnt, have none; a run that failed has that of its first steps.
    """
    found: dict[str, list[tuple[str, Curve]]] = {}
    for run in study.runs:
        curve = read_curve(run.folder) if run.trains else None
        if curve is not None:
            steps, values = thinned(curve)
            found.setdefault(run.reference, []).append((run.experiment, (steps, smoothed(values))))
    return found


def colors(experiments: list[str], baseline: str) -> dict[str, tuple[str, str]]:
    """A colour and a line style for each experiment; the baseline has the ink's."""
    others = [name for name in experiments if name != baseline]
    styles = ("-", "--", ":", "-.")
    chosen = {name: (CURVES[index % len(CURVES)], styles[index // len(CURVES) % len(styles)]) for index, name in enumerate(others)}
    return {baseline: (INK[0], "-"), **chosen}


def curves_panel(axes: Axes, curves: list[tuple[str, Curve]], look: dict[str, tuple[str, str]]) -> None:
    """Draws the curves of one reference over the training steps."""
    for experiment, (steps, values) in curves:
        color, style = look[experiment]
        axes.plot(steps, values, color=color, linestyle=style, marker="." if len(steps) == 1 else "", linewidth=1.1)
    axes.set_xlabel("training step")
    axes.set_ylabel(TAG.replace("train/", "training "))
