"""What sets of frames are compared with: a folder of images and videos, or a statistics file of clean-fid."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary
from zipfile import BadZipFile

import av
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from motion_ablation.metrics.networks.encoders import ImageEncoder
from motion_ablation.metrics.networks.preprocessing import BATCH

IMAGES = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff")
VIDEOS = (".mp4", ".webm", ".mov", ".avi", ".mkv", ".gif")
KEPT = ".npz"  # lossless frames as a study keeps them: (f, h, w, 3) uint8 under 'frames'

_folders: WeakKeyDictionary[Any, dict[Path, Tensor]] = WeakKeyDictionary()


def folder_features(features: ImageEncoder, folder: Path, device: torch.device) -> Tensor:
    """Features of every frame in a folder and the folders beneath it, ``(n, d)``, on ``device``; read once per process and network.

    Raises:
        ValueError: for a folder without frames, or a file that cannot be read.
    """
    known = _folders.setdefault(features, {})
    if folder not in known:
        parts = [features.images(batch.to(device)) for batch in _batches(_pictures(folder))]
        if not parts:
            raise ValueError(
                f"{folder} holds no frames: images ({', '.join(IMAGES)}), videos ({', '.join(VIDEOS)}) or kept frames ({KEPT})"
            )
        known[folder] = torch.cat(parts)
    return known[folder].to(device)


def read_statistics(path: Path, names: tuple[str, ...], dimension: int) -> list[Tensor]:
    """Arrays of a clean-fid statistics file (``mu``, ``sigma``; ``feats`` in those for KID), float64; nothing in it is executed.

    Raises:
        ValueError: where the file cannot be read, lacks an array, or is of another network.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            held = {name: np.asarray(file[name], np.float64) for name in names if name in file}
    except (OSError, EOFError, ValueError, AttributeError, BadZipFile) as error:  # a lone .npy has no names
        raise ValueError(f"{path} is no statistics file: {error}") from error
    missing = [name for name in names if name not in held]
    if missing:
        raise ValueError(f"{path} holds no array '{missing[0]}': fid needs mu and sigma, kid needs feats")
    arrays = [torch.from_numpy(held[name]) for name in names]
    for name, array in zip(names, arrays, strict=True):
        shape = {"mu": (dimension,), "sigma": (dimension, dimension), "feats": (len(array), dimension)}[name]
        if tuple(array.shape) != shape or not array.isfinite().all():
            raise ValueError(
                f"{path}: {name} is {tuple(array.shape)}, must be {shape} and finite: it was made with another network; "
                "clean-fid's own statistics are of features: inception"
            )
    return arrays


def _pictures(folder: Path) -> Iterator[NDArray[np.uint8]]:
    """Every frame, ``(h, w, 3)``, at its own size, in the order of the files' names."""
    for path in sorted(folder.rglob("*")):
        suffix = path.suffix.lower()
        if not path.is_file() or suffix not in (*IMAGES, *VIDEOS, KEPT):
            continue
        try:
            if suffix in IMAGES:
                with Image.open(path) as image:
                    yield np.array(image.convert("RGB"))
            elif suffix in VIDEOS:
                with av.open(str(path)) as container:
                    yield from (np.asarray(frame.to_ndarray(format="rgb24"), np.uint8) for frame in container.decode(video=0))
            else:
                with np.load(path, allow_pickle=False) as file:
                    yield from file["frames"]
        except (OSError, ValueError, KeyError, IndexError, SyntaxError, BadZipFile, av.FFmpegError) as error:
            raise ValueError(f"{path} cannot be read: {error}") from error


def _batches(pictures: Iterator[NDArray[np.uint8]]) -> Iterator[Tensor]:
    """Runs of pictures of one size, ``(n, 3, h, w)`` float in ``[0, 1]``, n <= ``BATCH``."""
    held: list[NDArray[np.uint8]] = []
    for picture in pictures:
        if held and (len(held) == BATCH or picture.shape != held[0].shape):
            yield _tensor(held)
            held = []
        held.append(picture)
    if held:
        yield _tensor(held)


def _tensor(pictures: list[NDArray[np.uint8]]) -> Tensor:
    return torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).float() / 255
