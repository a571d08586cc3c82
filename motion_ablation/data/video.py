"""Reading clips from videos, GIFs and folders of images, and writing them; only what a clip needs is ever decoded."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain, pairwise
from math import isfinite
from pathlib import Path
from typing import TypeVar

import av
import numpy as np
import torch
from av.stream import Disposition
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from PIL import Image, ImageOps
from torch import Tensor
from torch.nn import functional as F

from motion_ablation.files import replacing

CROPS = ("center", "none")
FOLDER_FPS = 8.0
IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff")

T = TypeVar("T")


class VideoError(ValueError):
    """A video that cannot be read or written; the message names the path and the reason."""


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


def read_clip(
    path: str | Path,
    *,
    frames: int,
    fps: float | None = None,
    start: float = 0.0,
    size: int | Sequence[int],
    crop: str = "center",
    shorter: bool = False,
) -> tuple[Tensor, float]:
    """Reads ``frames`` evenly spaced frames from a video, a GIF or a folder of images.

    The ``k``-th frame is the one on screen at ``start + k / fps`` seconds after the first: the last frame whose timestamp is
    not later than that (within half a tick of the file's clock). So frames repeat when ``fps`` is above the source's rate,
    are skipped when it is below, and a variable frame rate comes out even. Each frame is resized as soon as it is decoded.

    Args:
        path: whatever PyAV opens (mp4, webm, mov, gif, ...), or a folder of images, taken in natural order (``2`` before ``10``).
        fps: frames per second; None keeps the source's mean rate. The images of a folder are ``1 / fps`` apart (None: 8 fps).
        start: seconds to skip.
        size: pixels, one number or (height, width).
        crop: ``"center"`` crops to the target's aspect ratio, ``"none"`` squeezes the whole picture into it.
        shorter: take fewer frames where the video ends first, instead of refusing it.

    Returns:
        ``(f, 3, h, w)`` float32 in ``[0, 1]``, and the frames per second.

    Raises:
        VideoError: missing, empty, corrupt or truncated file, no video stream, too few frames, or a start past the end.
        ValueError: an argument out of its range.
    """
    window = Window(frames, fps, start, size, crop, shorter)
    path = Path(path).expanduser()
    if not path.exists():
        raise VideoError(f"{path}: no such file or folder")
    pictures, rate = _read_folder(path, window) if path.is_dir() else _read_file(path, window)
    return torch.stack(pictures), float(rate)


def shape_of(path: str | Path) -> tuple[int, int]:
    """Height and width in pixels, as shown, of a video or of the first image of a folder. Raises as :func:`read_clip`."""
    path = Path(path).expanduser()
    if path.is_dir() or not path.is_file() or path.stat().st_size == 0:
        files = sorted((file for file in path.glob("*") if file.suffix.lower() in IMAGE_SUFFIXES), key=_natural)
        if not files:  # the reader says what is wrong
            read_clip(path, frames=1, size=1)
        height, width = _read_image(files[0]).shape[1:]
        return height, width
    try:
        with av.open(str(path)) as container:
            frame = next(_decoded(container, container.streams.video[0]))
            aspect = float(container.streams.video[0].sample_aspect_ratio or 1)
    except (av.FFmpegError, IndexError, StopIteration):
        read_clip(path, frames=1, size=1)
        raise
    shape = frame.height, round(frame.width * aspect)
    return shape if round(frame.rotation / 90) % 2 == 0 else (shape[1], shape[0])


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


def _read_file(path: Path, window: Window) -> tuple[list[Tensor], float]:
    if path.stat().st_size == 0:
        raise VideoError(f"{path}: the file is empty (0 bytes)")
    try:
        found = _read_from(path, window, seek=window.start > 0)
        # Some files lack the index that a seek needs; they are decoded from their beginning.
        found = found or _read_from(path, window, seek=False)
    except av.FFmpegError as error:
        raise VideoError(f"{path}: cannot be decoded ({error.strerror}): not a video, corrupt or truncated") from error
    assert found is not None
    return found


def _read_from(path: Path, window: Window, seek: bool) -> tuple[list[Tensor], float] | None:
    """The window's pictures and rate, or None if the seek did not land at or before its start."""
    with av.open(str(path)) as container:
        streams = [stream for stream in container.streams.video if not stream.disposition & Disposition.attached_pic]
        if not streams:
            raise VideoError(f"{path}: has no video stream (streams: {', '.join(s.type for s in container.streams) or 'none'})")
        stream = streams[0]
        rate, tick = window.fps or _rate(stream), float(stream.time_base or 0)
        origin = (stream.start_time or 0) * tick
        tolerance = min(tick / 2 + 1e-6, 0.25 / rate)
        times = [origin + window.start + k / rate for k in range(window.frames)]
        if seek and not _seek(container, stream, times[0]):
            return None
        decoded = _decoded(container, stream)
        first = next(decoded, None)
        if seek and (first is None or _time(first, path) > times[0] + tolerance):
            return None
        if first is None:
            raise VideoError(f"{path}: holds no frame that can be decoded: corrupt or truncated")
        timed = ((_time(frame, path), frame) for frame in chain([first], decoded))
        pictures, end = pick(timed, times, tolerance, lambda frame: _picture(frame, stream, window), _lasting(stream))
        if len(pictures) < window.frames and not (window.shorter and pictures and not _cut(container, stream, end - origin)):
            reason = _shortage(window, rate, len(pictures), end - origin, _promised(container, stream), 1 / _rate(stream))
            raise VideoError(f"{path}: {reason}")
    return pictures, rate


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


def _rate(stream: VideoStream) -> float:
    return float(stream.average_rate or stream.guessed_rate or FOLDER_FPS)


def _seek(container: av.container.InputContainer, stream: VideoStream, time: float) -> bool:
    try:
        container.seek(int(time / float(stream.time_base or 1)), stream=stream)
    except av.FFmpegError:
        return False
    return True


def _decoded(container: av.container.InputContainer, stream: VideoStream) -> Iterator[VideoFrame]:
    yield from container.decode(stream)


def _time(frame: VideoFrame, path: Path) -> float:
    if frame.time is None:
        raise VideoError(f"{path}: its frames have no timestamps; convert it to mp4 first")
    return frame.time


def _lasting(stream: VideoStream) -> Callable[[VideoFrame], float]:
    tick = float(stream.time_base or 0)
    return lambda frame: frame.duration * tick if frame.duration else 1 / _rate(stream)


def _picture(frame: VideoFrame, stream: VideoStream, window: Window) -> Tensor:
    image = torch.from_numpy(frame.to_ndarray(format="rgb24")).permute(2, 0, 1).float() / 255
    aspect = float(stream.sample_aspect_ratio or 1)
    quarters = round(frame.rotation / 90) % 4
    image = torch.rot90(image, quarters, (1, 2))
    return fit(image, window.shape, window.crop, 1 / aspect if quarters % 2 else aspect)


def _promised(container: av.container.InputContainer, stream: VideoStream) -> float:
    """Seconds that the file's header tells, 0 if it does not."""
    if stream.duration and stream.time_base:
        return float(stream.duration * stream.time_base)
    return (container.duration or 0) / av.time_base


def _cut(container: av.container.InputContainer, stream: VideoStream, seconds: float) -> bool:
    return _ends_early(_promised(container, stream), seconds, 1 / _rate(stream))


def _ends_early(promised: float, seconds: float, frame: float) -> bool:
    """Whether the data ends before the header says, by more than rounding."""
    return promised - seconds > 1.5 * frame


def _shortage(window: Window, rate: float, available: int, seconds: float, promised: float, frame: float) -> str:
    if _ends_early(promised, seconds, frame):
        return f"truncated: its header says {promised:.2f} s, its data ends after {seconds:.2f} s"
    if available == 0:
        return f"starts past the end: start is {window.start:g} s, the video lasts {seconds:.2f} s"
    return _too_short(window, rate, available)


def _too_short(window: Window, rate: float, available: int) -> str:
    return (
        f"too short: {available} frames from {window.start:g} s at {rate:g} fps, {window.frames} are needed; "
        f"set frames to at most {available}, an earlier start or a higher fps"
    )


def _read_folder(path: Path, window: Window) -> tuple[list[Tensor], float]:
    files = sorted((file for file in path.iterdir() if file.suffix.lower() in IMAGE_SUFFIXES), key=_natural)
    if not files:
        raise VideoError(f"{path}: the folder holds no images ({', '.join(IMAGE_SUFFIXES)})")
    rate = window.fps or FOLDER_FPS
    first = int(window.start * rate + 1e-6)
    chosen = files[first : first + window.frames]
    if not chosen:
        raise VideoError(f"{path}: starts past the end: start is {window.start:g} s, its {len(files)} images last {len(files) / rate:g} s")
    if len(chosen) < window.frames and not window.shorter:
        # Images have no timestamps: a higher rate gives no more of them.
        raise VideoError(f"{path}: {_too_short(window, rate, len(chosen)).removesuffix(' or a higher fps')}")
    return [fit(_read_image(file), window.shape, window.crop) for file in chosen], rate


def _natural(path: Path) -> list[tuple[int, str]]:
    return [(int(part), "") if part.isdigit() else (-1, part.lower()) for part in re.split(r"([0-9]+)", path.name)]


def _read_image(path: Path) -> Tensor:
    try:
        with Image.open(path) as image:
            pixels = np.array(ImageOps.exif_transpose(image).convert("RGB"))
    except (OSError, SyntaxError, ValueError) as error:
        raise VideoError(f"{path}: cannot be read as an image: {error}") from error
    return torch.from_numpy(pixels).permute(2, 0, 1).float() / 255


def write_video(path: str | Path, frames: Tensor, fps: float, crf: int = 17) -> None:
    """Writes an h264 mp4 (yuv420p, which plays everywhere), atomically.

    Args:
        frames: ``(f, 3, h, w)`` in ``[0, 1]``; an odd height or width grows by one pixel that repeats the edge.
        fps: frames per second. crf: quality, from 0 (lossless) to 51.

    Raises:
        VideoError: frames of another shape, or a file that cannot be written.
    """
    pixels = _pixels(path, frames, fps)
    pixels = np.pad(pixels, ((0, 0), (0, pixels.shape[1] % 2), (0, pixels.shape[2] % 2), (0, 0)), mode="edge")
    rate = Fraction(fps).limit_denominator(1001)
    with replacing(path) as partial:
        try:
            with av.open(str(partial), "w", format="mp4") as container:
                stream = container.add_stream("libx264", rate=rate, options={"crf": str(crf)})
                stream.height, stream.width, stream.pix_fmt = pixels.shape[1], pixels.shape[2], "yuv420p"
                for picture in pixels:
                    container.mux(stream.encode(VideoFrame.from_ndarray(picture, format="rgb24")))
                container.mux(stream.encode())
        except av.FFmpegError as error:
            raise VideoError(f"{path}: cannot be written ({error.strerror})") from error


def write_gif(path: str | Path, frames: Tensor, fps: float, scale: int = 1) -> None:
    """Writes an endlessly playing GIF, atomically.

    Args:
        frames: ``(f, 3, h, w)`` in ``[0, 1]``. fps: frames per second, at most 50 (a GIF's clock ticks 100 times a second).
        scale: whole number by which pixels are enlarged.

    Raises:
        VideoError: frames of another shape or too high a rate.
    """
    if fps > 50:
        raise VideoError(f"{path}: a GIF plays at most 50 fps, not {fps:g}")
    pixels = _pixels(path, frames, fps).repeat(scale, axis=1).repeat(scale, axis=2)
    pictures = [Image.fromarray(picture).convert("P", palette=Image.Palette.ADAPTIVE) for picture in pixels]
    # Rounding the times, not the durations, keeps a clip's length: 8 fps alternates between 120 and 130 ms.
    times = [10 * round(100 * k / fps) for k in range(len(pictures) + 1)]
    durations = [after - before for before, after in pairwise(times)]
    with replacing(path) as partial:
        pictures[0].save(partial, "GIF", save_all=True, append_images=pictures[1:], duration=durations, loop=0)


def _pixels(path: str | Path, frames: Tensor, fps: float) -> np.ndarray:
    """``(f, h, w, 3)`` bytes."""
    if frames.ndim != 4 or frames.shape[1] != 3 or frames.numel() == 0:
        raise VideoError(f"{path}: frames must be (f, 3, h, w), not {tuple(frames.shape)}")
    if not (isfinite(fps) and fps > 0):
        raise VideoError(f"{path}: fps must be positive, not {fps}")
    bytes_ = (frames.detach().float().clamp(0, 1) * 255).round().to(torch.uint8)
    return np.ascontiguousarray(bytes_.permute(0, 2, 3, 1).cpu().numpy())
