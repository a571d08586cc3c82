"""Images as a viewer shows them, whatever their mode and depth; folders of images and animated images as videos."""

from __future__ import annotations

import io
import re
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageCms, ImageOps, UnidentifiedImageError
from torch import Tensor

from motion_ablation.data.window import NOMINAL_FPS, Clock, VideoError, Window, fit, pick

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".jfif", ".bmp", ".webp", ".tif", ".tiff")
UNREADABLE = (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError)
SRGB = ImageCms.createProfile("sRGB")


def is_image(path: Path) -> bool:
    """Whether a file is an image by its name; what operating systems leave (``._1.png``, ``.DS_Store``, ``Thumbs.db``) is none."""
    return path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith(".") and path.is_file()


def images_in(folder: Path) -> list[Path]:
    """The images of a folder in natural order (``2`` before ``10``)."""
    return sorted((file for file in folder.iterdir() if is_image(file)), key=natural)


def natural(path: Path) -> list[tuple[int, str]]:
    """A key that sorts file names by the numbers in them."""
    return [(int(part), "") if part.isdigit() else (-1, part.lower()) for part in re.split(r"([0-9]+)", path.name)]


def read_folder(path: Path, window: Window) -> tuple[list[Tensor], float]:
    """The window's pictures of a folder of images, and the frames per second."""
    files = images_in(path)
    if not files:
        raise VideoError(f"{path}: the folder holds no images ({', '.join(IMAGE_SUFFIXES)})")
    rate = window.fps or NOMINAL_FPS
    first = int(window.start * rate + 1e-6)
    chosen = files[first : first + window.frames]
    if not chosen:
        raise VideoError(f"{path}: starts past the end: start is {window.start:g} s, its {len(files)} images last {len(files) / rate:g} s")
    if len(chosen) < window.frames and not window.shorter:
        # Images have no timestamps: a higher rate gives no more of them.
        raise VideoError(f"{path}: {window.shortage(rate, len(chosen), 0).removesuffix(' or a higher fps')}")
    return [fit(read_image(file), window.shape, window.crop) for file in chosen], rate


def read_image(path: Path) -> Tensor:
    """An image, or the first of an animation, as ``(3, h, w)`` in ``[0, 1]``. Raises :class:`VideoError`."""
    try:
        with Image.open(path) as image:
            return _shown(image)
    except UnidentifiedImageError as error:
        deep = _read_deep(path)
        if deep is None:
            raise VideoError(f"{path}: cannot be read as an image: {error}") from error
        return deep
    except UNREADABLE as error:
        raise VideoError(f"{path}: cannot be read as an image: {error}") from error


def read_animation(path: Path, window: Window) -> tuple[list[Tensor], float]:
    """The window's pictures of an image file that moves (WebP, PNG), or stands still, and the frames per second."""
    pictures, times, now = [], [], 0.0
    try:
        with Image.open(path) as image:
            for number in range(getattr(image, "n_frames", 1)):
                image.seek(number)
                image.load()
                times.append(now)
                pictures.append(fit(_shown(image), window.shape, window.crop))
                now += (image.info.get("duration") or 1000 / NOMINAL_FPS) / 1000
    except UNREADABLE as error:
        if pictures or _read_deep(path) is None:
            raise VideoError(f"{path}: cannot be read as an image: {error}") from error
        pictures, times, now = [fit(read_image(path), window.shape, window.crop)], [0.0], 1 / NOMINAL_FPS
    clock = Clock.of(times, now)
    rate = window.fps or clock.rate
    last = now - times[-1]
    timed = zip(times, pictures, strict=True)
    found, end = pick(timed, window.times(rate), clock.tolerance(window.fps, 0.001), lambda picture: picture, lambda _: last)
    if not found or (len(found) < window.frames and not window.shorter):
        raise VideoError(f"{path}: {window.shortage(rate, len(found), end)}")
    return found, rate


def _shown(image: Image.Image) -> Tensor:
    """``(3, h, w)``: upright, in sRGB, and on white where it is transparent."""
    image = ImageOps.exif_transpose(image)
    if image.mode in ("I", "F") or image.mode.startswith("I;"):
        return _scaled(np.asarray(image, dtype=np.float32)[..., None].repeat(3, -1), sixteen=image.mode.startswith("I;16"))
    image = _managed(image)
    if image.mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in image.info:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1).float() / 255


def _managed(image: Image.Image) -> Image.Image:
    """In sRGB, where the image says that its colours are in another space and can be converted."""
    profile = image.info.get("icc_profile")
    if not profile or image.mode not in ("RGB", "RGBA", "CMYK"):
        return image
    try:
        space = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if "sRGB" in ImageCms.getProfileDescription(space):
            return image
        return ImageCms.profileToProfile(image, space, SRGB, outputMode="RGBA" if image.mode == "RGBA" else "RGB") or image
    except (ImageCms.PyCMSError, OSError):
        return image  # a damaged profile, or one for another mode: viewers leave it out too


def _scaled(values: np.ndarray, sixteen: bool) -> Tensor:
    """Deep pixels ``(h, w, 3)`` as ``(3, h, w)`` in ``[0, 1]``; where the type does not tell, by the smallest usual range they fit in."""
    values = np.nan_to_num(values.astype(np.float32))
    top = float(values.max(initial=0))
    whole = 65535.0 if sixteen or top > 255 else 255.0 if top > 1 else 1.0
    return torch.from_numpy(np.ascontiguousarray(values)).permute(2, 0, 1).div(whole).clamp(0, 1)


def _read_deep(path: Path) -> Tensor | None:
    """Images of 16 or 32 bits per channel that Pillow does not read, by OpenCV; None where it does not either."""
    import cv2

    pixels = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    if pixels is None:
        return None
    deep = pixels.dtype == np.uint16
    pixels = pixels[..., None].repeat(3, -1) if pixels.ndim == 2 else pixels
    colour = _scaled(pixels[..., 2::-1], deep)
    if pixels.shape[-1] == 4:
        alpha = _scaled(pixels[..., 3:], deep)
        colour = colour * alpha + (1 - alpha)
    return colour
