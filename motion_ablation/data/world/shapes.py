"""The built-in world: procedural captioned videos whose true motion is known.

One coloured shape moves over a textured background that is tied to world coordinates, so that camera motion shows
everywhere. Coordinates are ``(x, y)`` in ``[-1, 1]``, x to the right, y downwards; time runs over ``[0, 1]``.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from motion_ablation.palette import COLORS as COLORS
from motion_ablation.palette import SHAPES as SHAPES

Array = NDArray[np.floating]

TRANSLATIONS = {"moving left": (-1, 0), "moving right": (1, 0), "moving up": (0, -1), "moving down": (0, 1)}
MOTIONS = (
    *TRANSLATIONS,
    "circling clockwise",
    "circling counterclockwise",
    "bouncing",
    "swinging",
    "growing",
    "shrinking",
    "spinning",
    "standing still",
)
CAMERAS = ("static", "panning left", "panning right", "zooming in", "zooming out")
BACKGROUND_GAIN = 0.8


@dataclass(frozen=True)
class Scene:
    """Everything that determines one video, whatever its size and length.

    ``start`` and ``travel`` are a position and a signed amplitude in world units, ``radius`` is the object's size,
    ``angle`` its orientation in radians; ``waves`` has one row ``(kx, ky, phase)`` per texture component.
    """

    shape: str
    color: str
    background: str
    motion: str = "standing still"
    camera: str = "static"
    start: tuple[float, float] = (0.0, 0.0)
    travel: float = 1.0
    radius: float = 0.3
    angle: float = 0.0
    phase: float = 0.0
    waves: tuple[tuple[float, float, float], ...] = field(default=((5.0, 2.0, 0.0), (-2.0, 6.0, 1.0)))

    def caption(self, motion: bool = True) -> str:
        """The scene in words, with or without the object's and the camera's motion."""
        words = f"a {self.color} {self.shape}"
        if motion:
            words += f" {self.motion}"
        words += f" on a {self.background} background"
        if motion and self.camera != "static":
            words += f" camera {self.camera}"
        return words

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Truth:
    """True motion in frame coordinates.

    Attributes:
        center: ``(f, 2)``, x and y of the object's centre in ``[-1, 1]`` (outside when it leaves the frame).
        scale: ``(f,)``, the object's radius, as a fraction of half the frame.
        angle: ``(f,)``, radians, clockwise on screen.
        zoom: ``(f,)``, the camera's magnification; pan: ``(f, 2)``, the world point at the frame's centre.
    """

    center: Array
    scale: Array
    angle: Array
    zoom: Array
    pan: Array


def is_held_out(shape: str, color: str, background: str) -> bool:
    """Whether an appearance is kept out of pretraining (one in six), for prompts never seen."""
    index = SHAPES.index(shape) + 3 * list(COLORS).index(color) + 5 * list(COLORS).index(background)
    return index % 6 == 0


def appearances(held_out: bool) -> list[tuple[str, str, str]]:
    """All (shape, color, background) triples of one side of the split; object and background colours differ."""
    triples = [(s, c, b) for s in SHAPES for c in COLORS for b in COLORS if c != b]
    return [triple for triple in triples if is_held_out(*triple) == held_out]


def sample_scene(rng: np.random.Generator, held_out: bool = False, **fixed: Any) -> Scene:
    """Draws a scene. ``fixed`` pins any field of :class:`Scene`; pinned appearances override the split.

    The motion's start is chosen such that the object stays inside the frame under a static camera.
    """
    shape, color, background = _draw_appearance(rng, held_out, fixed)
    motion = fixed.get("motion") or MOTIONS[rng.integers(len(MOTIONS))]
    camera = fixed.get("camera") or (CAMERAS[rng.integers(1, len(CAMERAS))] if rng.random() < 0.35 else "static")
    radius = float(rng.uniform(0.28, 0.42))
    travel = float(rng.uniform(0.8, 1.2))
    # Half extents of the path around its midpoint, then a midpoint that keeps it inside.
    path = {"bouncing": (0, 0.45), "swinging": (0.45, 0), "growing": (0, 0), "shrinking": (0, 0)}
    dx, dy = TRANSLATIONS.get(motion, (0, 0))
    half = np.array(path.get(motion, (abs(dx) * travel / 2, abs(dy) * travel / 2)))
    if motion.startswith("circling"):
        half = np.full(2, 0.42 * travel)
    if motion in ("growing", "shrinking"):
        radius = float(rng.uniform(0.18, 0.24))
    room = np.clip(0.95 - radius - half, 0, 0.45)
    start = tuple(float(v) for v in rng.uniform(-room, room))
    waves = []
    tilt = rng.uniform(0, np.pi)
    for turn in (0.0, np.pi / 2):
        frequency = rng.uniform(5.0, 8.0)
        waves.append((float(frequency * np.cos(tilt + turn)), float(frequency * np.sin(tilt + turn)), float(rng.uniform(0, 2 * np.pi))))
    drawn: dict[str, Any] = dict(
        shape=shape,
        color=color,
        background=background,
        motion=motion,
        camera=camera,
        start=start,
        travel=travel,
        radius=radius,
        angle=float(rng.uniform(-0.3, 0.3)),
        phase=float(rng.uniform(0, 2 * np.pi)),
        waves=tuple(waves),
    )
    return Scene(**{**drawn, **fixed})


def _draw_appearance(rng: np.random.Generator, held_out: bool, fixed: dict[str, Any]) -> tuple[str, str, str]:
    while True:
        shape = fixed.get("shape") or SHAPES[rng.integers(len(SHAPES))]
        color = fixed.get("color") or list(COLORS)[rng.integers(len(COLORS))]
        background = fixed.get("background") or list(COLORS)[rng.integers(len(COLORS))]
        if color == background and not ("color" in fixed and "background" in fixed):
            continue
        pinned = all(key in fixed for key in ("shape", "color", "background"))
        if pinned or is_held_out(shape, color, background) == held_out:
            return shape, color, background


def trajectory(scene: Scene, frames: int) -> Truth:
    """The scene's true motion at ``frames`` evenly spaced times over ``[0, 1]``."""
    t = np.linspace(0, 1, frames, dtype=np.float32) if frames > 1 else np.zeros(1, np.float32)
    return truth_at(scene, t)


def truth_at(scene: Scene, t: Array) -> Truth:
    """The scene's true motion at the times ``t``: ``(f,)`` in ``[0, 1]``."""
    world = np.tile(np.asarray(scene.start, np.float32), (len(t), 1))
    scale, angle = np.full_like(t, scene.radius), np.full_like(t, scene.angle)
    turn = 2 * np.pi * t
    if scene.motion in TRANSLATIONS:
        world += np.asarray(TRANSLATIONS[scene.motion], np.float32) * (scene.travel * (t - 0.5))[:, None]
    elif scene.motion.startswith("circling"):
        sign = -1.0 if "counter" in scene.motion else 1.0
        world += 0.42 * scene.travel * np.stack([np.cos(sign * turn + scene.phase), np.sin(sign * turn + scene.phase)], 1)
    elif scene.motion == "bouncing":
        world[:, 1] += 0.45 - 0.9 * np.abs(np.sin(turn))
    elif scene.motion == "swinging":
        world[:, 0] += 0.45 * np.sin(turn + scene.phase)
    elif scene.motion == "growing":
        scale = scale * (1 + 1.4 * t)
    elif scene.motion == "shrinking":
        scale = scale * (2.4 - 1.4 * t)
    elif scene.motion == "spinning":
        angle = angle + turn * 0.75
    elif scene.motion != "standing still":
        raise ValueError(f"unknown motion '{scene.motion}'. Choices: {', '.join(MOTIONS)}")
    pan, zoom = np.zeros((len(t), 2), np.float32), np.ones_like(t)
    if scene.camera.startswith("panning"):
        pan[:, 0] = (1 if scene.camera.endswith("right") else -1) * 0.8 * (t - 0.5)
    elif scene.camera == "zooming in":
        zoom = 0.75 * (5 / 3) ** t
    elif scene.camera == "zooming out":
        zoom = 1.25 * (3 / 5) ** t
    elif scene.camera != "static":
        raise ValueError(f"unknown camera '{scene.camera}'. Choices: {', '.join(CAMERAS)}")
    center = (world - pan) * zoom[:, None]
    as_float = [np.asarray(a, np.float32) for a in (center, scale * zoom, angle, zoom, pan)]
    return Truth(*as_float)


def render(scene: Scene, frames: int = 16, size: int = 64, times: Array | None = None) -> tuple[Array, Truth]:
    """Draws the scene.

    Args:
        frames: number of frames over the whole motion. size: height and width in pixels.
        times: draw these times in ``[0, 1]`` instead of ``frames`` even ones.

    Returns:
        ``(f, 3, size, size)`` float32 in ``[0, 1]``, and the true motion.
    """
    truth = trajectory(scene, frames) if times is None else truth_at(scene, np.asarray(times, np.float32))
    return draw(scene, truth, size), truth


def draw(scene: Scene, truth: Truth, size: int | tuple[int, int] = 64) -> Array:
    """Draws the scene's appearance in any motion: ``(f, 3, h, w)`` float32 in ``[0, 1]``.

    Args:
        size: side in pixels, or ``(h, w)``; the short side spans ``[-1, 1]``, the long one more.
    """
    across, down, _ = _pixels(size)
    zoom = truth.zoom[:, None, None]
    world_x, world_y = across / zoom + truth.pan[:, 0, None, None], down / zoom + truth.pan[:, 1, None, None]
    texture = np.mean([np.sin(kx * world_x + ky * world_y + phase) for kx, ky, phase in scene.waves], axis=0)
    shade = BACKGROUND_GAIN * (1 + 0.22 * texture)
    background = np.asarray(COLORS[scene.background], np.float32)[None, :, None, None] * shade[:, None]
    alpha = coverage(scene, truth, size)[:, None]
    color = np.asarray(COLORS[scene.color], np.float32)[None, :, None, None]
    return np.clip(background * (1 - alpha) + color * alpha, 0, 1).astype(np.float32)


def coverage(scene: Scene, truth: Truth, size: int | tuple[int, int] = 64) -> Array:
    """How much of each pixel the object covers: ``(f, h, w)`` in ``[0, 1]``; ``size`` as in :func:`draw`."""
    across, down, short = _pixels(size)
    dx, dy = across - truth.center[:, 0, None, None], down - truth.center[:, 1, None, None]
    cos, sin = np.cos(truth.angle)[:, None, None], np.sin(truth.angle)[:, None, None]
    radius = truth.scale[:, None, None]
    distance = signed_distance(scene.shape, (dx * cos + dy * sin) / radius, (dy * cos - dx * sin) / radius) * radius
    return np.asarray(np.clip(0.5 - distance * short / 2, 0, 1))


def _pixels(size: int | tuple[int, int]) -> tuple[Array, Array, int]:
    """Coordinates of the columns ``(1, 1, w)`` and rows ``(1, h, 1)``, and the short side's pixels."""
    height, width = (size, size) if isinstance(size, int) else size
    short = min(height, width)
    across, down = (((np.arange(n, dtype=np.float32) + 0.5) / n * 2 - 1) * np.float32(n / short) for n in (width, height))
    return across[None, None, :], down[None, :, None], short


def parked(shape: str, color: str, background: str, frames: int = 16, size: int | tuple[int, int] = 64) -> Array:
    """A video ``(f, 3, h, w)`` of an object that stands in the frame's middle: what a path metric gives for no motion at all."""
    scene = Scene(shape, color, background)
    return draw(scene, trajectory(scene, frames), size)


def signed_distance(shape: str, x: Array, y: Array) -> Array:
    """Distance from the points to the outline of a unit-radius shape, negative inside (a bound for polygons)."""
    r = np.hypot(x, y)
    if shape == "circle":
        return r - 0.95
    if shape == "square":
        return np.maximum(np.abs(x), np.abs(y)) - 0.85
    if shape == "triangle":
        return np.maximum(y - 0.62, np.maximum(0.866 * x - 0.5 * y, -0.866 * x - 0.5 * y) - 0.5)
    if shape == "ring":
        return np.abs(r - 0.75) - 0.25
    if shape == "cross":
        ax, ay = np.abs(x), np.abs(y)
        return np.minimum(np.maximum(ax - 1.0, ay - 0.33), np.maximum(ax - 0.33, ay - 1.0))
    if shape == "star":
        # Fold into one tenth of the star; its edge joins an outer tip (radius 1.1) and an inner corner (radius 0.48).
        sector = 2 * np.pi / 5
        theta = np.abs((np.arctan2(x, -y) + sector / 2) % sector - sector / 2)
        px, py = r * np.cos(theta), r * np.sin(theta)
        tip = np.array([1.1, 0.0])
        corner = 0.48 * np.array([np.cos(sector / 2), np.sin(sector / 2)])
        edge = (corner - tip) / np.linalg.norm(corner - tip)
        return (py - tip[1]) * -edge[0] + (px - tip[0]) * edge[1]
    raise ValueError(f"unknown shape '{shape}'. Choices: {', '.join(SHAPES)}")
