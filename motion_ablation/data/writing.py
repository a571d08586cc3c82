"""Writing videos and GIFs, whole or not at all."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise
from math import ceil, isfinite
from pathlib import Path
from typing import IO

import av
import numpy as np
import torch
from av.video.frame import VideoFrame
from PIL import Image
from torch import Tensor

from motion_ablation.data.window import VideoError
from motion_ablation.files import replacing

GIF_FPS = 50  # most that viewers play: a GIF's clock ticks 100 times a second, and shorter delays than 2 ticks are slowed down


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
    """Writes an endlessly playing GIF, atomically. Above 50 fps every second frame is left out, or more, so that it lasts as long.

    Args:
        frames: ``(f, 3, h, w)`` in ``[0, 1]``. fps: frames per second. scale: whole number by which pixels are enlarged.

    Raises:
        VideoError: frames of another shape.
    """
    with replacing(path) as partial:
        save_gif(partial, _pixels(path, frames, fps).repeat(scale, axis=1).repeat(scale, axis=2), fps)


def save_gif(file: Path | IO[bytes], pixels: np.ndarray, fps: float) -> None:
    """Writes bytes ``(f, h, w, 3)`` into an open file or to a path; see :func:`write_gif`."""
    step = ceil(fps / GIF_FPS - 1e-6) if fps > GIF_FPS else 1
    pictures = [Image.fromarray(picture).convert("P", palette=Image.Palette.ADAPTIVE) for picture in pixels[::step]]
    # Rounding the times, not the durations, keeps a clip's length: 8 fps alternates between 120 and 130 ms.
    times = [10 * round(100 * k * step / fps) for k in range(len(pictures) + 1)]
    durations = [min(after - before, 655350) for before, after in pairwise(times)]
    pictures[0].save(file, "GIF", save_all=True, append_images=pictures[1:], duration=durations, loop=0)


def _pixels(path: str | Path, frames: Tensor, fps: float) -> np.ndarray:
    """``(f, h, w, 3)`` bytes."""
    if frames.ndim != 4 or frames.shape[1] != 3 or frames.numel() == 0:
        raise VideoError(f"{path}: frames must be (f, 3, h, w), not {tuple(frames.shape)}")
    if not (isfinite(fps) and fps > 0):
        raise VideoError(f"{path}: fps must be positive, not {fps}")
    bytes_ = (frames.detach().float().clamp(0, 1) * 255).round().to(torch.uint8)
    return np.ascontiguousarray(bytes_.permute(0, 2, 3, 1).cpu().numpy())
