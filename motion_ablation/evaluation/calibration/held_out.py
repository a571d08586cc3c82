"""References that no choice of the metrics was made on, their ladders under damage, and an error that knows no metric."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor
from torchvision.transforms.functional import gaussian_blur

from motion_ablation.data.world.shapes import SHAPES, Scene, Truth, draw
from motion_ablation.evaluation.calibration.ladders import RIM, Rung, ladder, world_points

Array = NDArray[np.floating]

W = ((6.1, 2.2, 0.3), (-2.2, 6.1, 1.6))
HELD_OUT: dict[str, tuple[Scene, float]] = {
    "swinging": (Scene("cross", "purple", "orange", "swinging", start=(0.0, -0.1), radius=0.34, phase=0.8, waves=W), 1.0),
    "shrinking": (Scene("square", "red", "white", "shrinking", start=(-0.1, 0.1), radius=0.24, waves=W), 1.0),
    "falling, ever faster": (Scene("star", "blue", "yellow", "moving down", start=(0.15, 0.0), travel=1.2, radius=0.34, waves=W), 2.0),
    "small, circling": (Scene("square", "white", "red", "circling counterclockwise", radius=0.18, phase=2.0, waves=W), 1.0),
    "large, to the left": (Scene("ring", "orange", "blue", "moving left", travel=0.7, radius=0.62, waves=W), 1.0),
    "up, under a pan": (Scene("triangle", "white", "purple", "moving up", "panning left", travel=1.0, radius=0.36, waves=W), 1.0),
    "growing, under a zoom out": (Scene("star", "green", "purple", "growing", "zooming out", radius=0.22, waves=W), 1.0),
    "zoom in": (Scene("cross", "cyan", "red", "standing still", "zooming in", start=(0.1, 0.0), radius=0.3, waves=W), 1.0),
    "spinning": (Scene("square", "yellow", "blue", "spinning", start=(0.1, 0.0), radius=0.42, waves=W), 1.0),
    "spinning, ever faster": (Scene("cross", "red", "cyan", "spinning", start=(-0.1, 0.1), radius=0.4, waves=W), 1.6),
}
"""Scene, and the power of time at which it runs: above 1 it speeds up."""
OTHER_SHAPE = dict(zip(SHAPES, (*SHAPES[1:], SHAPES[0]), strict=True))
SPINS = tuple(name for name in HELD_OUT if name.startswith("spinning"))


def screen_error(truth: Truth, other: Truth) -> float:
    """Mean distance on screen, in half short sides, between corresponding points of the two videos, over points and frames.

    Nine points of the object and 16 of the world, each where it is seen: the camera is not taken off, nothing is aligned, object and camera
    are not averaged apart. So it shares no part with the motion metrics.
    """
    mine, theirs = (_on_screen(t, truth) for t in (truth, other))
    return float(np.linalg.norm(mine - theirs, axis=-1).mean())


def _on_screen(truth: Truth, first: Truth) -> Array:
    """Paths ``(f, 25, 2)`` of the object's centre and rim, and of what the first frame of ``first`` shows on a grid."""
    turn = truth.angle[:, None] + RIM
    rim = truth.center[:, None] + truth.scale[:, None, None] * np.stack([np.cos(turn), np.sin(turn)], -1)
    return np.concatenate([truth.center[:, None], rim, world_points(truth, first)], 1)


@dataclass(frozen=True)
class Damage:
    """What is done to every video of a ladder, and not to the reference.

    Attributes:
        apply: ``(video (f, 3, h, w), rung, generator)`` to the damaged video. size: frames' height and width.
    """

    apply: Callable[[Tensor, Rung, torch.Generator], Tensor]
    size: int | tuple[int, int] = 64


def _size(video: Tensor) -> tuple[int, int]:
    return video.shape[-2], video.shape[-1]


def _nothing(video: Tensor, rung: Rung, rng: torch.Generator) -> Tensor:
    return video


def _jpeg(video: Tensor, rung: Rung, rng: torch.Generator) -> Tensor:
    frames = []
    for image in (video.permute(0, 2, 3, 1) * 255).round().byte().numpy():
        coded = cv2.imencode(".jpg", np.ascontiguousarray(image[..., ::-1]), [cv2.IMWRITE_JPEG_QUALITY, 20])[1]
        frames.append(np.asarray(cv2.imdecode(coded, cv2.IMREAD_COLOR))[..., ::-1].copy())
    return torch.from_numpy(np.stack(frames)).permute(0, 3, 1, 2).float() / 255


def _blur(video: Tensor, rung: Rung, rng: torch.Generator) -> Tensor:
    blurred: Tensor = gaussian_blur(video, [9, 9], [1.5, 1.5])
    return blurred


def _noise(video: Tensor, rung: Rung, rng: torch.Generator) -> Tensor:
    return (video + 0.05 * torch.randn(video.shape, generator=rng)).clamp(0, 1)


def _flicker(video: Tensor, rung: Rung, rng: torch.Generator) -> Tensor:
    """The light changes from frame to frame."""
    return (video * (1 + 0.3 * (2 * torch.rand(len(video), 1, 1, 1, generator=rng) - 1))).clamp(0, 1)


def _shapes(video: Tensor, rung: Rung, rng: torch.Generator) -> Tensor:
    """The object has another shape in every third frame."""
    other = torch.from_numpy(draw(replace(rung.scene, shape=OTHER_SHAPE[rung.scene.shape]), rung.truth, _size(video)))
    return torch.where((torch.arange(len(video)) % 3 == 1)[:, None, None, None], other, video)


def _vanishing(video: Tensor, rung: Rung, rng: torch.Generator) -> Tensor:
    """The object is gone in 30 % of the frames."""
    empty = torch.from_numpy(draw(rung.scene, replace(rung.truth, center=rung.truth.center + 99), _size(video)))
    return torch.where((torch.rand(len(video), generator=rng) < 0.3)[:, None, None, None], empty, video)


def _coarse(video: Tensor, rung: Rung, rng: torch.Generator) -> Tensor:
    return F.interpolate(F.interpolate(video, scale_factor=0.5, mode="area"), scale_factor=2, mode="bilinear").clamp(0, 1)


DAMAGES = {
    "as drawn": Damage(_nothing),
    "wide frames (64 x 112)": Damage(_nothing, (64, 112)),
    "tall frames (112 x 64)": Damage(_nothing, (112, 64)),
    "JPEG, quality 20": Damage(_jpeg),
    "blur, sd 1.5 pixels": Damage(_blur),
    "half the resolution": Damage(_coarse),
    "noise, sd 0.05": Damage(_noise),
    "light flickers by 30 %": Damage(_flicker),
    "another shape in every third frame": Damage(_shapes),
    "object gone in 30 % of the frames": Damage(_vanishing),
}


def damaged_ladder(name: str, damage: str, frames: int = 16, look: int = 1) -> tuple[Tensor, list[tuple[Rung, Tensor]]]:
    """The reference's video, and every rung of its ladder in another look with its damaged video; both ``(f, 3, h, w)``."""
    scene, ease = HELD_OUT[name]
    rungs = [rung for rung in ladder(name, scene, frames, look + 1, ease, screen_error) if rung.look == look]
    kind = DAMAGES[damage]
    source = torch.from_numpy(draw(scene, rungs[0].truth, kind.size))
    return source, list(_damaged(rungs, kind))


def _damaged(rungs: list[Rung], damage: Damage) -> Iterator[tuple[Rung, Tensor]]:
    for number, rung in enumerate(rungs):
        video = rung.frames(damage.size)
        yield rung, damage.apply(video, rung, torch.Generator().manual_seed(number))
