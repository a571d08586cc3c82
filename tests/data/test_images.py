"""Images as a viewer shows them, by values known by hand: modes, depths, transparency, orientation, litter."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from motion_ablation.data.images import images_in, read_image
from motion_ablation.data.video import read_clip

RED = (200, 40, 40)


def shown(path: Path) -> list[float]:
    """Red, green and blue of the middle, of 255."""
    image = read_image(path)
    assert image.dtype == torch.float32 and len(image) == 3
    return (image[:, image.shape[1] // 2, image.shape[2] // 2] * 255).tolist()


@pytest.mark.parametrize(("mode", "expected"), [
    ("RGB", RED), ("RGBA", RED), ("P", RED), ("L", (88, 88, 88)), ("LA", (88, 88, 88)), ("1", (255, 255, 255)),
])  # fmt: skip
def test_modes(tmp_path: Path, mode: str, expected: tuple[int, ...]) -> None:
    image = Image.new("RGB", (8, 6), RED if mode != "1" else "white").convert(mode, palette=Image.Palette.ADAPTIVE)
    image.save(tmp_path / "a.png")
    assert shown(tmp_path / "a.png") == pytest.approx(expected, abs=1)
    assert read_image(tmp_path / "a.png").shape == (3, 6, 8)


def test_printers_colours(tmp_path: Path) -> None:
    Image.new("CMYK", (8, 8), (0, 255, 255, 0)).save(tmp_path / "a.jpg", quality=100)
    red, green, blue = shown(tmp_path / "a.jpg")
    assert red > 200 and green < 60 and blue < 60


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_depth(tmp_path: Path, dtype: type) -> None:
    """A quarter of the range is a quarter, in 8 and in 16 bits, grey or coloured (OpenCV writes blue first)."""
    whole = np.iinfo(dtype).max
    cv2.imwrite(str(tmp_path / "grey.png"), np.full((8, 8), whole // 4, dtype))
    cv2.imwrite(str(tmp_path / "colour.tiff"), np.full((8, 8, 3), (0, whole // 2, whole // 4), dtype))
    assert shown(tmp_path / "grey.png") == pytest.approx([63.75] * 3, abs=1)
    assert shown(tmp_path / "colour.tiff") == pytest.approx([63.75, 127.5, 0], abs=1)


def test_what_is_transparent_is_white(tmp_path: Path) -> None:
    Image.new("RGBA", (8, 8), (0, 0, 0, 0)).save(tmp_path / "all.png")
    Image.new("RGBA", (8, 8), (0, 0, 0, 128)).save(tmp_path / "half.png")
    palette = Image.new("P", (8, 8), 0)
    palette.save(tmp_path / "palette.png", transparency=0)
    assert shown(tmp_path / "all.png") == [255] * 3 and shown(tmp_path / "palette.png") == [255] * 3
    assert shown(tmp_path / "half.png") == pytest.approx([127] * 3, abs=1)


def test_a_photograph_is_upright(tmp_path: Path) -> None:
    image = Image.new("RGB", (8, 4), "black")
    image.paste("white", (0, 0, 4, 4))  # the left half is white
    exif = image.getexif()
    exif[0x0112] = 6  # to be shown after a quarter turn to the right
    image.save(tmp_path / "a.png", exif=exif)
    upright = read_image(tmp_path / "a.png")
    assert upright.shape == (3, 8, 4) and upright[:, :4].min() > 0.99 and upright[:, 4:].max() < 0.01


def test_litter_is_no_frame(tmp_path: Path) -> None:
    for number in (2, 10, 1):
        Image.new("RGB", (8, 8), (10 * number,) * 3).save(tmp_path / f"{number}.png")
    for name in ("._1.png", ".DS_Store", "Thumbs.db", "desktop.ini", "notes.txt"):
        (tmp_path / name).write_bytes(b"litter")
    (tmp_path / "folder.png").mkdir()
    assert [path.name for path in images_in(tmp_path)] == ["1.png", "2.png", "10.png"]
    frames, _ = read_clip(tmp_path, frames=3, size=(8, 8))
    assert (frames[:, 0, 0, 0] * 255).round().tolist() == [10, 20, 100]


def test_an_animated_webp_is_a_video(tmp_path: Path) -> None:
    pictures = [Image.new("RGB", (8, 8), (40 * n,) * 3) for n in range(5)]
    pictures[0].save(tmp_path / "a.webp", save_all=True, append_images=pictures[1:], duration=125, lossless=True)
    frames, rate = read_clip(tmp_path / "a.webp", frames=5, size=(8, 8))
    assert rate == pytest.approx(8) and (frames[:, 0, 4, 4] * 255).round().tolist() == [0, 40, 80, 120, 160]
