"""What to read of a video, and how its pictures are cut and resized."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any, TypeVar

from torch import Tensor
from torch.nn import functional as F

CROPS = ("center", "none")
NOMINAL_FPS = 8.0  # of what has no rate of its own, such as a folder of images

T = TypeVar("T")


class VideoError(ValueError):
    """A video that cannot be read or written; the message names the path and the reason."""


@dataclass(frozen=True)
class FrameRange:
    """Every ``step``-th of a video's own frames from ``start`` up to ``end``, which is none of them; None is the video's last and all."""

    start: int
    end: int | None
    step: int = 1

    def __post_init__(self) -> None:
        if self.start < 0 or self.step < 1 or (self.end is not None and self.end <= self.start):
            raise ValueError(f"0 <= start < end and step >= 1 are needed, not {self}")

    def __str__(self) -> str:
        return f"{self.start}:{'' if self.end is None else self.end}:{self.step}"

    @classmethod
    def parse(cls, text: Any, where: str) -> FrameRange:
        """``start:end`` or ``start:end:step``, as Python slices; each may be left out. Raises ``ValueError``, naming the place."""
        parts = str(text).split(":")
        try:
            start, end, step = (int(part) if part.strip() else None for part in [*parts, "", ""][:3])
            if not 2 <= len(parts) <= 3:
                raise ValueError
            return cls(start or 0, end, 1 if step is None else step)
        except ValueError:
            raise ValueError(f"{where}: frames must be start:end or start:end:step, whole numbers that rise, not {text!r}") from None

    def numbers(self, count: int) -> range:
        """The first ``count`` of its frames, or all that it has."""
        last = self.start + (count - 1) * self.step + 1
        return range(self.start, last if self.end is None else min(last, self.end), self.step)


@dataclass(frozen=True)
class Window:
    """What to read of a video: ``frames`` frames at ``fps`` (None: the source's rate) from ``start`` seconds, and how to fit them.

    With ``shorter``, a video that ends before has as many frames as it has.

    Raises:
        ValueError: a value out of its range.
    """

    frames: int
    fps: float | None
    start: float
    size: int | Sequence[int]
    crop: str = "center"
    shorter: bool = False

    def __post_init__(self) -> None:
        if self.frames < 1:
            raise ValueError(f"frames must be at least 1, not {self.frames}")
        if self.fps is not None and not (isfinite(self.fps) and self.fps > 0):
            raise ValueError(f"fps must be positive, not {self.fps}")
        if not (isfinite(self.start) and self.start >= 0):
            raise ValueError(f"start must be 0 or more seconds, not {self.start}")
        if self.crop not in CROPS:
            raise ValueError(f"unknown crop '{self.crop}'. Choices: {', '.join(CROPS)}")
        if (not isinstance(self.size, int) and len(self.size) != 2) or min(self.shape) < 1:
            raise ValueError(f"size must be positive pixels, one number or [height, width], not {self.size}")

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return (self.size, self.size) if isinstance(self.size, int) else (self.size[0], self.size[1])

    def times(self, rate: float) -> list[float]:
        """When the frames are shown, in seconds after the video's first, at ``rate`` frames per second."""
        return [self.start + k / rate for k in range(self.frames)]

    def shortage(self, rate: float, available: int, seconds: float) -> str:
        """Why a video of ``seconds`` with only ``available`` frames in the window does not do."""
        if available == 0:
            return f"starts past the end: start is {self.start:g} s, the video lasts {seconds:.2f} s"
        return (
            f"too short: {available} frames from {self.start:g} s at {rate:g} fps, {self.frames} are needed; "
            f"set frames to at most {available}, an earlier start or a higher fps"
        )


@dataclass(frozen=True)
class Clock:
    """The rate of a video, as its timestamps tell it.

    Attributes:
        rate: frames per second, the mean: frames over duration. jitter: seconds by which no frame is earlier or later than at an even
            rate; 0 where frames are so uneven that no even rate was meant.
    """

    rate: float
    jitter: float

    @classmethod
    def of(cls, times: Sequence[float], end: float) -> Clock:
        """The clock of frames that begin at ``times``, rising, the last of which is shown until ``end``; at least one frame."""
        rate = len(times) / (end - times[0])
        jitter = max(abs(time - times[0] - k / rate) for k, time in enumerate(times))
        return cls(rate, jitter if jitter * rate < 0.49 else 0.0)

    def tolerance(self, fps: float | None, tick: float) -> float:
        """How late a frame may begin: half a tick of the file's clock, or as far as its frames stray from an even rate.

        Args:
            fps: the rate that is asked for; None: the video's own. tick: seconds.
        """
        return min(max(tick / 2 + 1e-6, self.jitter + 1e-6), 0.49 / self.rate if fps is None and self.jitter else 0.25 / (fps or self.rate))


def pick(
    timed: Iterable[tuple[float, T]],
    times: Sequence[float],
    tolerance: float,
    convert: Callable[[T], Tensor],
    lasting: Callable[[T], float],
) -> tuple[list[Tensor], float]:
    """For each time, the last frame not later than it; stops at the first frame that is not needed.

    Args:
        timed: (seconds, frame) in rising order. times: seconds, rising; those before the first frame get the first.
        convert: applied once to each picked frame. lasting: how many seconds the final frame stays on screen.

    Returns:
        The converted frames, fewer than ``times`` if the source ends first, and the time up to which the source was read.
    """
    picked: list[Tensor] = []

    def take(frame: T, until: float) -> None:
        count = sum(time < until - tolerance for time in times[len(picked) :])
        picked.extend([convert(frame)] * count if count else [])

    held: tuple[float, T] | None = None
    for time, frame in timed:
        if held is not None:
            take(held[1], time)
            if len(picked) == len(times):
                return picked, time
        held = (time, frame)
    if held is None:
        return picked, 0.0
    end = held[0] + lasting(held[1])
    take(held[1], end)
    return picked, end


def fit(image: Tensor, shape: tuple[int, int], crop: str, pixel_aspect: float = 1.0) -> Tensor:
    """Crops and resizes one picture with antialiasing.

    Args:
        image: ``(3, h, w)`` in ``[0, 1]``. shape: height and width to reach. crop: one of ``CROPS``.
        pixel_aspect: width of the picture's pixels over their height.

    Returns:
        ``(3, *shape)`` in ``[0, 1]``.
    """
    if crop == "center":
        height, width = image.shape[1:]
        aspect = shape[1] / shape[0] / pixel_aspect
        rows, columns = min(height, max(1, round(width / aspect))), min(width, max(1, round(height * aspect)))
        top, left = (height - rows) // 2, (width - columns) // 2
        image = image[:, top : top + rows, left : left + columns]
    return F.interpolate(image[None], shape, mode="bicubic", antialias=True)[0].clamp(0, 1)
