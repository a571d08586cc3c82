"""Cases on which motion metrics of the literature fail, as synthetic tracks: no tracker, no pixels, only motion."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from motion_ablation.metrics import Tracks

Array = NDArray[np.float64]

SIDE, FRAMES, NOISE = 25, 16, 0.001
_AXIS = np.linspace(-0.95, 0.95, SIDE)
_START = np.stack(np.meshgrid(_AXIS, _AXIS), -1).reshape(-1, 2)
_OBJECT = np.linalg.norm(_START - [-0.3, 0.0], axis=1) < 0.35


@dataclass(frozen=True)
class Case:
    """A reference motion, the same motion again, and another one.

    Attributes:
        reference, same, other: tracks of ``b = 1``, 625 points over 16 frames, with tracking noise of 0.001 half frames each.
        most: what a metric in [-1, 1] may give ``other`` at most: 0.5, or less where the motion is the opposite.
    """

    name: str
    reference: Tracks
    same: Tracks
    other: Tracks
    most: float


def _tracks(motion: Callable[[Array, float], Array], seed: int) -> Tracks:
    """Tracks of the motion ``(start, time in [0, 1]) -> place``; points that leave the frame are invisible from then on."""
    rng = np.random.default_rng(seed)
    points = np.stack([motion(_START, t) for t in np.linspace(0, 1, FRAMES)]) + rng.normal(0, NOISE, (FRAMES, len(_START), 2))
    inside = (np.abs(points) <= 1).all(-1)
    return Tracks(torch.from_numpy(points)[None], torch.from_numpy(np.logical_and.accumulate(inside))[None])


def _still(start: Array, t: float) -> Array:
    return start


def _zoom(rate: float) -> Callable[[Array, float], Array]:
    return lambda start, t: start * rate**t


def _pan(distance: float) -> Callable[[Array, float], Array]:
    return lambda start, t: start + np.array([distance * t, 0])


def _object(distance: float) -> Callable[[Array, float], Array]:
    return lambda start, t: start + np.where(_OBJECT[:, None], [distance * t, 0], 0)


def _jitter(motion: Callable[[Array, float], Array], size: float) -> Callable[[Array, float], Array]:
    """A motion seen by a camera that trembles."""
    return lambda start, t: motion(start, t) + size * np.array([np.sin(97 * t), np.cos(61 * t) - 1])


def _case(
    name: str, reference: Callable[[Array, float], Array], other: Callable[[Array, float], Array], most: float,
    same: Callable[[Array, float], Array] | None = None,
) -> Case:  # fmt: skip
    return Case(name, _tracks(reference, 0), _tracks(same or reference, 1), _tracks(other, 2), most)


CASES = (
    _case("zoom in or out", _zoom(1.6), _zoom(1 / 1.6), -0.5),
    _case("pan or zoom", _pan(0.6), _zoom(1.6), 0.3),
    _case("pan left or right", _pan(0.6), _pan(-0.6), -0.5),
    _case("object under a static camera", _object(0.8), _object(-0.5), 0.0),
    _case("object, and one that stays", _object(0.8), _still, 0.3),
    _case("object seen by a trembling camera", _object(0.8), _jitter(_object(-0.5), 0.02), 0.0, same=_jitter(_object(0.8), 0.02)),
    _case("static, and a pan", _still, _pan(0.6), 0.3),
    _case("object at a quarter of the speed", _object(0.8), _object(0.2), 0.6),
)
"""The usual formula gives ``other`` of the first a score near 1; see the documentation of the metrics."""
