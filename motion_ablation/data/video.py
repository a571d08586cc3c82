"""Reading clips from videos, animated and single images and folders of images; only what a clip needs is ever decoded."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import chain, pairwise
from pathlib import Path
from typing import Any

import av
import numpy as np
import torch
from av.sidedata.sidedata import Type
from av.stream import Disposition
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from PIL import Image
from torch import Tensor

from motion_ablation.data.images import images_in, is_image, read_animation, read_folder, read_image
from motion_ablation.data.window import CROPS as CROPS
from motion_ablation.data.window import NOMINAL_FPS, Clock, FrameRange, Window, fit, pick
from motion_ablation.data.window import VideoError as VideoError
from motion_ablation.data.writing import write_gif as write_gif
from motion_ablation.data.writing import write_video as write_video

# Containers that tell the length of each stream. Others tell their own, which may be that of the sound.
OWN_LENGTHS = ("mov", "avi", "mpegts", "mpeg")


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
    """Reads ``frames`` evenly spaced frames from a video, a GIF, an animated image or a folder of images.

    The ``k``-th frame is the one on screen at ``start + k / fps`` seconds after the first that can be decoded: the last frame whose
    timestamp is not later than that (within half a tick of the file's clock, or as far as the frames stray from an even rate). So
    frames repeat when ``fps`` is above the source's rate, are skipped when it is below, and a variable frame rate comes out even. Where
    timestamps are missing or do not rise, frames count in the order in which they are decoded, at the rate that the file names.

    Args:
        path: whatever PyAV opens (mp4, webm, mov, gif, ...), an image, or a folder of images, in natural order (``2`` before ``10``).
        fps: frames per second; None keeps the source's mean rate, frames over duration. The images of a folder are ``1 / fps`` apart
            (None: 8 fps).
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
    read = read_folder if path.is_dir() else read_animation if is_image(path) else _read_file
    pictures, rate = read(path, window)
    return torch.stack(pictures), float(rate)


def read_frames(
    path: str | Path, span: FrameRange, *, frames: int, size: int | Sequence[int], crop: str = "center"
) -> tuple[Tensor, float]:
    """Reads the first ``frames`` of a range of a video's own frames, by number: nothing is resampled.

    Args:
        path, size, crop: as :func:`read_clip`. span: which frames.

    Returns:
        ``(f, 3, h, w)`` float32 in ``[0, 1]``, and their frames per second: the video's, over the step.

    Raises:
        VideoError: as :func:`read_clip`, or if the range holds fewer frames.
    """
    numbers = span.numbers(frames)
    found, rate = read_clip(path, frames=numbers[-1] + 1, size=size, crop=crop, shorter=True)
    chosen = found[numbers.start : numbers.stop : numbers.step]
    if len(chosen) < frames:
        raise VideoError(
            f"{path}: frames {span} hold {len(chosen)}, {frames} are needed; set frames to at most {len(chosen)}, or a wider range"
        )
    return chosen.clone(), rate / span.step


def shape_of(path: str | Path) -> tuple[int, int]:
    """Height and width in pixels, as shown, of a video or of the first image of a folder. Raises as :func:`read_clip`."""
    path = Path(path).expanduser()
    image = path if is_image(path) else next(iter(images_in(path)), None) if path.is_dir() else None
    if image is not None:
        height, width = read_image(image).shape[1:]
        return height, width
    if path.is_dir() or not path.is_file() or path.stat().st_size == 0:  # the reader says what is wrong
        read_clip(path, frames=1, size=1)
    try:
        with av.open(str(path)) as container:
            stream = _stream(container, path)
            frame = next(_decoded(container, stream))
            aspect = float(stream.sample_aspect_ratio or 1)
            shape = frame.height, round(frame.width * aspect)
            return (shape[1], shape[0]) if _sideways(_matrix(frame)) else shape
    except (av.FFmpegError, StopIteration):
        read_clip(path, frames=1, size=1)
        raise


class _NoTimes(Exception):
    """Frames whose timestamps are missing or do not rise."""


def _read_file(path: Path, window: Window) -> tuple[list[Tensor], float]:
    if path.stat().st_size == 0:
        raise VideoError(f"{path}: the file is empty (0 bytes)")
    try:
        clock = _clock(path)
        try:
            found = _read_from(path, window, clock, seek=window.start > 0) if clock else None
            # Some files lack the index that a seek needs; they are decoded from their beginning.
            found = found or _read_from(path, window, clock, seek=False)
        except _NoTimes:
            found = _read_from(path, window, None, seek=False)
    except av.FFmpegError as error:
        raise VideoError(f"{path}: cannot be decoded ({error.strerror}): not a video, corrupt or truncated") from error
    assert found is not None
    return found


def _clock(path: Path) -> Clock | None:
    """What the timestamps of all packets tell of the rate; nothing is decoded. None where they are missing, or tell nothing."""
    times, end = [], 0.0
    with av.open(str(path)) as container:
        stream = _stream(container, path)
        tick = float(stream.time_base or 0)
        hides = stream.codec_context.name == "vp8"  # whose packets may hold a picture that is never shown
        try:
            for packet in container.demux(stream):
                if not packet.size or packet.is_discard or (hides and not memoryview(packet)[0] >> 4 & 1):
                    continue
                if packet.pts is None:
                    return None
                times.append(packet.pts * tick)
                end = max(end, (packet.pts + packet.duration) * tick if packet.duration else 0.0)
        except av.FFmpegError:
            pass  # corrupt from here on; the decoder says so if the clip needs it
        nominal, counts = _nominal(stream), container.format.name == "avi"
    times.sort()
    if not times or any(after <= before for before, after in pairwise(times)):
        return None
    if counts and len(times) == round((times[-1] - times[0]) / tick) + 1:
        return None  # an AVI counts its frames; what passes for timestamps may be in decoding order
    mean = (times[-1] - times[0]) / (len(times) - 1) if len(times) > 1 else 1 / nominal
    return Clock.of(times, end if end > times[-1] else times[-1] + mean)


def _read_from(path: Path, window: Window, clock: Clock | None, seek: bool) -> tuple[list[Tensor], float] | None:
    """The window's pictures and rate, or None if the seek did not land at or before its start.

    Args:
        clock: None counts frames at the nominal rate, whatever their timestamps.
    """
    with av.open(str(path)) as container:
        stream = _stream(container, path)
        own = clock.rate if clock else _nominal(stream)
        rate, tick = window.fps or own, float(stream.time_base or 0) if clock else 0.0
        tolerance = (clock or Clock(own, 0.0)).tolerance(window.fps, tick)
        decoded = _decoded(container, stream)
        first = next(decoded, None)
        if first is None:
            raise VideoError(f"{path}: holds no frame that can be decoded: corrupt or truncated")
        origin = (first.time or 0.0) if clock else 0.0
        times = [origin + time for time in window.times(rate)]
        if seek:
            if not _seek(container, stream, times[0]):
                return None
            decoded = _decoded(container, stream)
            first = next(decoded, None)
            if first is None or first.time is None or first.time > times[0] + tolerance:
                return None
        frames = chain([first], decoded)
        timed = _rising(frames) if clock else ((number / own, frame) for number, frame in enumerate(frames))
        pictures, end = pick(timed, times, tolerance, lambda frame: _picture(frame, stream, window), _lasting(stream, own, bool(clock)))
        if len(pictures) < window.frames:
            promised = _promised(container, stream, origin)
            cut = promised - (end - origin) > 1.5 / own  # by more than rounding
            if cut:
                raise VideoError(f"{path}: truncated: its header says {promised:.2f} s, its data ends after {end - origin:.2f} s")
            if not (window.shorter and pictures):
                raise VideoError(f"{path}: {window.shortage(rate, len(pictures), end - origin)}")
    return pictures, rate


def _stream(container: av.container.InputContainer, path: Path) -> VideoStream:
    streams = [stream for stream in container.streams.video if not stream.disposition & Disposition.attached_pic]
    if not streams:
        raise VideoError(f"{path}: has no video stream (streams: {', '.join(s.type for s in container.streams) or 'none'})")
    return streams[0]


def _nominal(stream: VideoStream) -> float:
    """The rate that the file names."""
    return float(stream.guessed_rate or stream.average_rate or NOMINAL_FPS)


def _seek(container: av.container.InputContainer, stream: VideoStream, time: float) -> bool:
    try:
        container.seek(int(time / float(stream.time_base or 1)), stream=stream)
    except av.FFmpegError:
        return False
    return True


def _decoded(container: av.container.InputContainer, stream: VideoStream) -> Iterator[VideoFrame]:
    yield from container.decode(stream)


def _rising(frames: Iterator[VideoFrame]) -> Iterator[tuple[float, VideoFrame]]:
    before = float("-inf")
    for frame in frames:
        if frame.time is None or frame.time <= before:
            raise _NoTimes
        yield frame.time, frame
        before = frame.time


def _lasting(stream: VideoStream, rate: float, timed: bool) -> Callable[[VideoFrame], float]:
    tick = float(stream.time_base or 0)
    return lambda frame: frame.duration * tick if timed and frame.duration else 1 / rate


def _promised(container: av.container.InputContainer, stream: VideoStream, origin: float) -> float:
    """Seconds of picture that the file's header tells, 0 if it does not."""
    if container.format.name.split(",")[0] in OWN_LENGTHS and stream.duration and stream.time_base:
        return float(stream.duration * stream.time_base)
    tag = stream.metadata.get("DURATION", "").split(":")  # Matroska's, of one stream
    if len(tag) == 3:
        return int(tag[0]) * 3600 + int(tag[1]) * 60 + float(tag[2]) - origin
    return (container.duration or 0) / av.time_base - origin if len(container.streams) == 1 else 0.0


def _picture(frame: VideoFrame, stream: VideoStream, window: Window) -> Tensor:
    """A frame as a player shows it: on white where it is transparent, turned and mirrored as its display matrix says."""
    if any(component.is_alpha for component in frame.format.components):
        over = frame.to_ndarray(format="rgba").astype(np.float32)
        pixels: np.ndarray = (over[..., :3] - 255) * (over[..., 3:] / 255) + 255
    else:
        pixels = frame.to_ndarray(format="rgb24")
    matrix, aspect = _matrix(frame), float(stream.sample_aspect_ratio or 1)
    image = torch.from_numpy(_displayed(pixels, matrix)).permute(2, 0, 1).float() / 255
    return fit(image, window.shape, window.crop, 1 / aspect if _sideways(matrix) else aspect)


def _matrix(frame: VideoFrame) -> np.ndarray:
    """``(2, 2)``: where the display matrix sends steps to the right and down, as columns, at scale 1."""
    side_data: Any = frame.side_data
    data = side_data.get(Type.DISPLAYMATRIX)
    if data is None:
        return np.eye(2)
    a, b, _, c, d = np.frombuffer(bytes(data), dtype="<i4")[:5].astype(float)
    matrix = np.array([[a, c], [b, d]])
    scale = np.linalg.norm(matrix, axis=0)
    return matrix / scale if scale.min() > 0 else np.eye(2)


def _sideways(matrix: np.ndarray) -> bool:
    """Whether a matrix exchanges width and height."""
    return bool(abs(matrix[1, 0]) > abs(matrix[0, 0]))


def _displayed(pixels: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """A picture ``(h, w, 3)`` turned and mirrored: exactly by quarter turns, at other angles within its own borders, black beyond."""
    exact = np.round(matrix)
    if np.abs(matrix - exact).max() < 0.02:
        pixels = pixels.transpose(1, 0, 2) if _sideways(matrix) else pixels
        return np.ascontiguousarray(pixels[:: -1 if exact[1].sum() < 0 else 1, :: -1 if exact[0].sum() < 0 else 1])
    height, width = pixels.shape[:2]
    back = np.linalg.inv(matrix)
    middle = np.array([width / 2, height / 2])
    shift = middle - back @ middle
    coefficients = (back[0, 0], back[0, 1], shift[0], back[1, 0], back[1, 1], shift[1])
    image = Image.fromarray(pixels.astype(np.uint8))
    return np.array(image.transform(image.size, Image.Transform.AFFINE, coefficients, Image.Resampling.BICUBIC))
