"""Ladders of built-in videos at known distances from a reference: in motion, in appearance, in what a caption gets wrong."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from motion_ablation.data.world.builtin import builtin
from motion_ablation.data.world.shapes import COLORS, SHAPES, Scene, Truth, draw, truth_at

Array = NDArray[np.floating]

REFERENCES = ("orbit", "slide", "bounce", "zoom", "pan")
RIM = np.linspace(0, 2 * np.pi, 8, endpoint=False)
_GRID = np.stack(np.meshgrid(np.linspace(-0.9, 0.9, 4), np.linspace(-0.9, 0.9, 4)), -1).reshape(-1, 2)


@dataclass(frozen=True)
class Rung:
    """One video of a motion ladder.

    Attributes:
        reference: name of the built-in reference. family: how its motion departs: ``right``, ``perturbed``, ``slower``, ``delayed``,
            ``turned``, ``mirrored``, ``opposite`` or ``none``. degree: how far, in the family's own unit.
        look: 0 for the reference's own appearance, else the number of another one. scene, truth: what is drawn.
        error: true motion error, see :func:`motion_error`, or another that was asked for.
    """

    reference: str
    family: str
    degree: float
    look: int
    scene: Scene
    truth: Truth
    error: float

    def frames(self, size: int | tuple[int, int] = 64) -> Tensor:
        """The video, ``(f, 3, h, w)`` in ``[0, 1]``; size: side, or height and width."""
        return torch.from_numpy(draw(self.scene, self.truth, size))


def motion_error(truth: Truth, other: Truth) -> float:
    """Mean distance, in half short sides, between the paths of corresponding points, each from its own start: half object, half camera.

    Object: its centre and 8 points of its rim, in the world, which the camera does not move. Camera: 16 world points that start on a grid,
    on the screen. Averaged over points and frames. Where a motion happens is no part of its error.
    """
    paths = [_object_points(t) for t in (truth, other)], [world_points(t, truth) for t in (truth, other)]
    return float(np.mean([np.linalg.norm((a - a[:1]) - (b - b[:1]), axis=-1).mean() for a, b in paths]))


def _object_points(truth: Truth) -> Array:
    turn = truth.angle[:, None] + RIM
    rim = (truth.scale / truth.zoom)[:, None, None] * np.stack([np.cos(turn), np.sin(turn)], -1)
    center = truth.center / truth.zoom[:, None] + truth.pan
    return np.concatenate([center[:, None], center[:, None] + rim], 1)


def world_points(truth: Truth, first: Truth) -> Array:
    """Paths on screen of the world points that the first frame of ``first`` shows at the grid."""
    world = _GRID / first.zoom[0] + first.pan[0]
    points: Array = (world[None] - truth.pan[:, None]) * truth.zoom[:, None, None]
    return points


def motion_ladder(reference: str, frames: int = 16, looks: int = 3) -> Iterator[Rung]:
    """Every rung of a reference's ladder, in every look; the first is the reference itself.

    A departure that leaves the motion as it is (a turned motion without a path) is left out.
    """
    scene = builtin(reference).scene
    if scene is None:
        raise ValueError(f"'{reference}' is a real clip: its true motion is not known. Choose among {', '.join(REFERENCES)}")
    yield from ladder(reference, scene, frames, looks)


def ladder(
    name: str,
    scene: Scene,
    frames: int = 16,
    looks: int = 3,
    ease: float = 1.0,
    error: Callable[[Truth, Truth], float] = motion_error,
) -> Iterator[Rung]:
    """The ladder of any scene; its motion runs at the times ``t ** ease``."""
    times = np.linspace(0, 1, frames)
    right = truth_at(scene, times**ease)
    for look in range(looks):
        worn = scene if look == 0 else _another_look(scene, look)
        for family, degree, truth in _departures(scene, right, times, ease):
            if family == "right" or motion_error(right, truth) > 1e-6:
                yield Rung(name, family, degree, look, worn, truth, error(right, truth))


def _departures(scene: Scene, right: Truth, times: Array, ease: float) -> Iterator[tuple[str, float, Truth]]:
    yield "right", 0.0, right
    for spread in (0.03, 0.06, 0.12, 0.24):
        rng = np.random.default_rng(round(1000 * spread))
        # Smooth over three frames: an object trembles, it does not teleport.
        noise = np.apply_along_axis(np.convolve, 0, rng.normal(0, spread, (len(times) + 2, 2)), np.ones(3) / 3**0.5, "valid")
        yield "perturbed", spread, replace(right, center=right.center + noise)
    for speed in (0.75, 0.5, 0.25):
        yield "slower", speed, truth_at(scene, (times * speed) ** ease)
    for share in (0.125, 0.25, 0.5):
        yield "delayed", share, truth_at(scene, np.clip(times - share, 0, 1) ** ease)
    for angle in (30, 60, 90, 135):
        yield "turned", angle, _turned(right, np.deg2rad(angle))
    yield "mirrored", 1.0, _mirrored(right)
    yield "opposite", 1.0, _opposite(right)
    yield "none", 0.0, truth_at(scene, times * 0)


def _turned(right: Truth, angle: float) -> Truth:
    """The paths of object and camera turned about their middles, where they stay in the frame."""
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    center, pan = _middle(right.center), _middle(right.pan)
    return replace(right, center=center + (right.center - center) @ turn, pan=pan + (right.pan - pan) @ turn)


def _mirrored(right: Truth) -> Truth:
    """Left and right exchanged about the middle of the path."""
    flip = np.array([-1.0, 1.0])
    center, pan = _middle(right.center), _middle(right.pan)
    angle = 2 * right.angle[0] - right.angle
    return replace(right, center=center + (right.center - center) * flip, pan=pan + (right.pan - pan) * flip, angle=angle)


def _opposite(right: Truth) -> Truth:
    """Every displacement negated, every growth and zoom inverted, about the middle of the path."""
    back = {name: 2 * _middle(getattr(right, name)) - getattr(right, name) for name in ("center", "angle", "pan")}
    grown = {name: getattr(right, name).min() * getattr(right, name).max() / getattr(right, name) for name in ("scale", "zoom")}
    return replace(right, **back, **grown)


def _middle(path: Array) -> Array:
    middle: Array = (path.min(0) + path.max(0)) / 2
    return middle


def _another_look(scene: Scene, look: int) -> Scene:
    """A scene of the same motion that shares no attribute with this one, and another texture; if it spins, of a shape that shows it."""
    round_ones = ("circle", "ring") if scene.motion == "spinning" else ()
    shapes = [s for s in SHAPES if s != scene.shape and s not in round_ones]
    colors = [c for c in COLORS if c not in (scene.color, scene.background)]
    rng = np.random.default_rng(look)
    color, background = rng.choice(colors, 2, replace=False)
    waves = tuple((float(6 * np.cos(a)), float(6 * np.sin(a)), float(rng.uniform(0, 6))) for a in (look, look + np.pi / 2))
    return replace(scene, shape=str(rng.choice(shapes)), color=str(color), background=str(background), waves=waves)


def caption_ladder(videos: int = 24, frames: int = 4) -> Iterator[tuple[Tensor, str, int]]:
    """Videos ``(f, 3, 64, 64)`` with a caption, and how many of its three attributes (shape, colour, background) are wrong: 0 to 3."""
    rng = np.random.default_rng(11)
    for _ in range(videos):
        shape = str(rng.choice(SHAPES))
        color, background, third, fourth = (str(name) for name in rng.choice(list(COLORS), 4, replace=False))
        scene = Scene(shape, color, background, motion="moving right", start=(0.0, 0.0), radius=0.38, travel=0.5)
        shown = torch.from_numpy(draw(scene, truth_at(scene, np.linspace(0, 1, frames)), 64))
        wrong: dict[str, Any] = {"shape": str(rng.choice([s for s in SHAPES if s != shape])), "color": third, "background": fourth}
        order = [str(key) for key in rng.permutation(list(wrong))]
        for count in range(4):
            said = replace(scene, **{key: wrong[key] for key in order[:count]})
            yield shown, said.caption(motion=False), count


def appearance_ladder(videos: int = 24, frames: int = 4) -> Iterator[tuple[Tensor, Tensor, int]]:
    """Pairs of videos of one motion, and how many of the three attributes they share: 0 to 3."""
    rng = np.random.default_rng(12)
    for _ in range(videos):
        shape, other = (str(name) for name in rng.choice(SHAPES, 2, replace=False))
        color, background, third, fourth = (str(name) for name in rng.choice(list(COLORS), 4, replace=False))
        scene = Scene(shape, color, background, motion="moving right", start=(0.0, 0.0), radius=0.38, travel=0.5)
        truth = truth_at(scene, np.linspace(0, 1, frames))
        unlike: dict[str, Any] = {"shape": other, "color": third, "background": fourth}
        order = [str(key) for key in rng.permutation(list(unlike))]
        reference = torch.from_numpy(draw(scene, truth, 64))
        for shared in range(4):
            changed = replace(scene, **{key: unlike[key] for key in order[shared:]})
            yield torch.from_numpy(draw(changed, truth, 64)), reference, shared
