"""Training curves, read from the event files that the runs wrote for TensorBoard."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from math import isfinite
from pathlib import Path

import numpy as np

from motion_ablation.study.plan.study import Study

TAG = "train/loss"
SMALL = 16_384  # bytes; a scalar takes less than a hundred
POINTS = 120
HALF_LIFE = 0.1  # of the whole curve

Curve = tuple[np.ndarray, np.ndarray]


def read_curve(folder: Path, tag: str = TAG) -> Curve | None:
    """Steps and values of a scalar that a run logged; None if it logged none."""
    from google.protobuf.message import DecodeError
    from tensorboard.compat.proto.event_pb2 import Event

    points: dict[float, float] = {}  # a run that went on after an interruption may have logged a step twice: the later counts
    for path in sorted(folder.glob("events.out.tfevents.*")):
        for record in small_records(path):
            try:
                event = Event.FromString(record)
            except DecodeError:
                break
            for value in event.summary.value:
                if value.tag == tag:
                    points[event.step] = value.simple_value
    found = sorted((step, value) for step, value in points.items() if isfinite(value))
    if not found:
        return None
    steps, values = zip(*found, strict=True)
    return np.array(steps, float), np.array(values, float)


def small_records(path: Path, limit: int = SMALL) -> Iterator[bytes]:
    """The records of an event file up to a size, as far as the file is whole.

    The larger ones, which hold pictures, are passed over: TensorBoard's own reader takes half a second to check each MB of them.
    A record is its length (8 bytes), the length's checksum (4), the content, and its checksum (4), little-endian.
    """
    end = path.stat().st_size
    with path.open("rb") as file:
        while len(head := file.read(12)) == 12:
            (length,) = struct.unpack("<Q", head[:8])
            if length + 4 > end - file.tell():
                return
            if length > limit:
                file.seek(length + 4, os.SEEK_CUR)
            else:
                yield file.read(length + 4)[:length]


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

    Runs that learnt nothing have none; one that took what another had learnt has that training's; one that failed has its first steps.
    """
    found: dict[str, list[tuple[str, Curve]]] = {}
    for run in study.runs:
        curve = read_curve(run.folder) if run.trains else None
        if curve is not None:
            steps, values = thinned(curve)
            found.setdefault(run.reference, []).append((run.experiment, (steps, smoothed(values))))
    return found
