"""Reading and writing videos: containers, timestamps, windows, fitting and every way in which a file can be wrong."""

from __future__ import annotations

import struct
import wave
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from motion_ablation.data import video
from motion_ablation.data.video import VideoError, read_clip, write_gif, write_video

STEP = 4  # grey levels between one frame of a numbered video and the next


def numbered(count: int, height: int = 32, width: int = 32) -> np.ndarray:
    """Frames whose brightness is their number: ``(count, height, width, 3)``."""
    levels = (16 + STEP * np.arange(count)).astype(np.uint8)
    return np.broadcast_to(levels[:, None, None, None], (count, height, width, 3)).copy()


def numbers(frames: Tensor) -> list[int]:
    return [round((float(level) * 255 - 16) / STEP) for level in frames.mean((1, 2, 3))]


def encode(
    path: Path, pixels: np.ndarray, rate: int = 8, codec: str = "libx264", pts: list[int] | None = None, tick: Fraction | None = None,
    fmt: str = "yuv420p", **options: str,
) -> Path:  # fmt: skip
    if codec == "libvpx":
        options = {"crf": "4", "b": "4M", **options}
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate, options=options)
        stream.height, stream.width, stream.pix_fmt = pixels.shape[1], pixels.shape[2], fmt
        stream.time_base = stream.codec_context.time_base = tick or Fraction(1, rate)
        for index, picture in enumerate(pixels):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(format=fmt)
            frame.pts, frame.time_base = (pts[index] if pts else index), stream.codec_context.time_base
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


@pytest.mark.parametrize(("suffix", "codec"), [("mp4", "libx264"), ("mov", "libx264"), ("webm", "libvpx"), ("mkv", "libx264")])
def test_containers(tmp_path: Path, suffix: str, codec: str) -> None:
    path = encode(tmp_path / f"clip.{suffix}", numbered(16), codec=codec)
    frames, fps = read_clip(path, frames=16, size=16)
    assert frames.shape == (16, 3, 16, 16) and frames.dtype == torch.float32
    assert 0 <= float(frames.min()) and float(frames.max()) <= 1
    assert fps == pytest.approx(8, rel=0.01)
    assert numbers(frames) == list(range(16))


def test_gif(tmp_path: Path) -> None:
    written = torch.from_numpy(numbered(12)).permute(0, 3, 1, 2) / 255
    write_gif(tmp_path / "clip.gif", written, fps=10, scale=2)
    frames, fps = read_clip(tmp_path / "clip.gif", frames=12, size=32)
    assert fps == pytest.approx(10, rel=0.01)
    torch.testing.assert_close(frames, written, atol=0.01, rtol=0)
    with Image.open(tmp_path / "clip.gif") as image:
        assert image.size == (64, 64) and image.info["loop"] == 0


def test_gif_window(tmp_path: Path) -> None:
    write_gif(tmp_path / "clip.gif", torch.from_numpy(numbered(16)).permute(0, 3, 1, 2) / 255, fps=8)
    frames, _ = read_clip(tmp_path / "clip.gif", frames=4, fps=4, start=0.5, size=32)
    assert numbers(frames) == [4, 6, 8, 10]


def test_folder_is_taken_in_natural_order(tmp_path: Path) -> None:
    for index, picture in enumerate(numbered(12)):
        Image.fromarray(picture).save(tmp_path / f"frame{index}.png")
    (tmp_path / "notes.md").write_text("not an image")
    frames, fps = read_clip(tmp_path, frames=12, size=8)
    assert numbers(frames) == list(range(12)) and fps == 8
    frames, fps = read_clip(tmp_path, frames=3, fps=4, start=0.5, size=8)
    assert numbers(frames) == [2, 3, 4] and fps == 4


@pytest.mark.parametrize(
    ("fps", "expected"), [(4, [0, 2, 4, 6]), (16, [0, 0, 1, 1, 2, 2, 3, 3]), (12, [0, 0, 1, 2, 2, 3]), (5, [0, 1, 3, 4])]
)
def test_resampling_shows_the_last_frame_not_later(tmp_path: Path, fps: float, expected: list[int]) -> None:
    path = encode(tmp_path / "clip.mp4", numbered(16), rate=8)
    frames, rate = read_clip(path, frames=len(expected), fps=fps, size=32)
    assert numbers(frames) == expected and rate == fps


def test_every_source_frame_once_at_the_source_rate_of_a_coarse_clock(tmp_path: Path) -> None:
    # 30 fps on webm's clock of 1 ms: timestamps 0, 33, 67, 100, ... are rounded.
    path = encode(tmp_path / "clip.webm", numbered(48), rate=30, codec="libvpx")
    frames, _ = read_clip(path, frames=40, fps=30, size=32)
    assert numbers(frames) == list(range(40))


@pytest.mark.parametrize("suffix", ["mp4", "webm"])
def test_variable_frame_rate(tmp_path: Path, suffix: str) -> None:
    # Frames 0-3 last 100 ms each, frame 4 lasts 600 ms, the others 50 ms each.
    milliseconds = [0, 100, 200, 300, 400, 1000, 1050, 1100, 1150]
    codec = {"mp4": "libx264", "webm": "libvpx"}[suffix]
    path = encode(tmp_path / f"clip.{suffix}", numbered(9), codec=codec, pts=milliseconds, tick=Fraction(1, 1000))
    frames, _ = read_clip(path, frames=12, fps=10, size=32)
    assert numbers(frames) == [0, 1, 2, 3, 4, 4, 4, 4, 4, 4, 5, 7]


@pytest.mark.parametrize("start", [0.0, 0.04, 1.0, 3.99, 4.8])
@pytest.mark.parametrize("keyframes", ["1", "12", "250"])
def test_window_of_a_long_group_of_pictures(tmp_path: Path, start: float, keyframes: str) -> None:
    pixels = numbered(58)[np.arange(150) % 58]
    path = encode(tmp_path / "clip.mp4", pixels, rate=25, g=keyframes, bf="2")
    frames, _ = read_clip(path, frames=10, fps=12.5, start=start, size=32)
    first = int(start * 25 + 1e-6)
    assert numbers(frames) == [(first + 2 * k) % 58 for k in range(10)]


def test_window_counts_from_the_first_frame(tmp_path: Path) -> None:
    path = encode(tmp_path / "clip.mkv", numbered(16), pts=[80 + k for k in range(16)])
    assert numbers(read_clip(path, frames=4, start=1, size=32)[0]) == [8, 9, 10, 11]


def test_decodes_only_what_it_needs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = encode(tmp_path / "clip.mp4", numbered(50)[np.arange(600) % 50], rate=25, g="25", bf="0")
    count = 0
    original = video._decoded

    def counting(*args: object) -> object:
        nonlocal count
        for frame in original(*args):  # type: ignore[arg-type]
            count += 1
            yield frame

    monkeypatch.setattr(video, "_decoded", counting)
    frames, _ = read_clip(path, frames=10, start=15.2, size=32)
    assert numbers(frames) == [(380 + k) % 50 for k in range(10)]
    assert count <= 1 + 5 + 10 + 1  # the first, which time counts from; from the keyframe at 15 s; one to know that the last is over


def test_seek_without_an_index_falls_back_to_the_beginning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = encode(tmp_path / "clip.mp4", numbered(16))
    monkeypatch.setattr(video, "_seek", lambda *_: False)
    assert numbers(read_clip(path, frames=4, start=1, size=32)[0]) == [8, 9, 10, 11]


def test_crop_keeps_proportions_and_none_squeezes(tmp_path: Path) -> None:
    pixels = np.zeros((2, 32, 64, 3), np.uint8)
    pixels[:, :, 16:48] = 255  # the centre half is white
    path = encode(tmp_path / "clip.mp4", pixels, crf="1")
    cropped, _ = read_clip(path, frames=1, size=32)
    squeezed, _ = read_clip(path, frames=1, size=32, crop="none")
    assert float(cropped.mean()) > 0.97
    assert float(squeezed.mean()) == pytest.approx(0.5, abs=0.03)
    assert float(squeezed[..., :7].max()) < 0.1 < 0.9 < float(squeezed[..., 10:22].min())
    tall, _ = read_clip(path, frames=1, size=(32, 16))
    assert tall.shape == (1, 3, 32, 16)


def test_resizing_is_antialiased(tmp_path: Path) -> None:
    stripes = np.zeros((1, 64, 64, 3), np.uint8)
    stripes[:, :, ::2] = 255
    for index in range(2):
        Image.fromarray(stripes[0]).save(tmp_path / f"{index}.png")
    frames, _ = read_clip(tmp_path, frames=2, size=16)
    assert float((frames - 0.5).abs().max()) < 0.1


def test_rotation_metadata(tmp_path: Path) -> None:
    pixels = np.zeros((2, 32, 64, 3), np.uint8)
    pixels[:, :, :32] = 255  # white on the left
    path = encode(tmp_path / "clip.mp4", pixels, crf="1")
    data = bytearray(path.read_bytes())
    matrix = data.index(b"tkhd") + 44
    one = 1 << 16
    data[matrix : matrix + 36] = struct.pack(">9i", 0, one, 0, -one, 0, 0, 32 * one, 0, 1 << 30)  # shown a quarter turn clockwise
    path.write_bytes(data)
    frames, _ = read_clip(path, frames=1, size=(64, 32))
    assert float(frames[0, :, :28].min()) > 0.9 and float(frames[0, :, 36:].max()) < 0.1  # white on top


@pytest.mark.parametrize("shape", [(32, 48), (31, 33)])
def test_write_video_round_trip(tmp_path: Path, shape: tuple[int, int]) -> None:
    ramp = torch.linspace(0, 1, shape[1]).expand(16, 3, *shape).clone()
    ramp[:, 1] *= torch.linspace(0, 1, 16)[:, None, None]
    path = tmp_path / "deep" / "clip.mp4"
    write_video(path, ramp, fps=7.5, crf=5)
    even = (shape[0] + shape[0] % 2, shape[1] + shape[1] % 2)
    frames, fps = read_clip(path, frames=16, size=even)
    assert fps == pytest.approx(7.5)
    assert float((frames[..., : shape[0], : shape[1]] - ramp).abs().mean()) < 0.02
    assert [file.name for file in path.parent.iterdir()] == ["clip.mp4"]
    with av.open(str(path)) as container:
        assert container.streams.video[0].codec_context.pix_fmt == "yuv420p"


def test_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "clip.mp4"
    path.write_text("old")

    def fail(*_: object, **__: object) -> None:
        raise av.error.InvalidDataError(1, "no encoder")

    monkeypatch.setattr(video.av, "open", fail)
    with pytest.raises(VideoError, match="cannot be written"):
        write_video(path, torch.zeros(2, 3, 8, 8), 8)
    assert path.read_text() == "old" and len(list(tmp_path.iterdir())) == 1


def test_write_refuses_other_shapes(tmp_path: Path) -> None:
    for write in (write_video, write_gif):
        with pytest.raises(VideoError, match=r"\(f, 3, h, w\)"):
            write(tmp_path / "x", torch.zeros(3, 8, 8), 8)
        with pytest.raises(VideoError, match="fps"):
            write(tmp_path / "x", torch.zeros(1, 3, 8, 8), 0)


def test_missing(tmp_path: Path) -> None:
    with pytest.raises(VideoError, match="gone.mp4: no such file"):
        read_clip(tmp_path / "gone.mp4", frames=1, size=8)


def test_zero_length(tmp_path: Path) -> None:
    (tmp_path / "void.mp4").touch()
    with pytest.raises(VideoError, match="void.mp4: the file is empty"):
        read_clip(tmp_path / "void.mp4", frames=1, size=8)


def test_not_a_video(tmp_path: Path) -> None:
    (tmp_path / "text.mp4").write_bytes(b"once upon a time " * 200)
    with pytest.raises(VideoError, match="text.mp4: cannot be decoded"):
        read_clip(tmp_path / "text.mp4", frames=1, size=8)


@pytest.mark.parametrize("suffix", ["wav", "mp4"])
def test_audio_only(tmp_path: Path, suffix: str) -> None:
    with wave.open(str(tmp_path / "sound.wav"), "wb") as file:
        file.setparams((1, 2, 8000, 0, "NONE", ""))
        file.writeframes(bytes(16000))
    path = tmp_path / f"sound.{suffix}"
    if suffix == "mp4":
        with av.open(str(tmp_path / "sound.wav")) as source, av.open(str(path), "w") as target:
            stream = target.add_stream("aac", rate=8000)
            for frame in source.decode(audio=0):
                target.mux(stream.encode(frame))
            target.mux(stream.encode())
    with pytest.raises(VideoError, match=f"sound.{suffix}: has no video stream .*audio"):
        read_clip(path, frames=1, size=8)


def test_too_short_says_how_many_there_are(tmp_path: Path) -> None:
    path = encode(tmp_path / "clip.mp4", numbered(10))
    with pytest.raises(VideoError, match="clip.mp4: too short: 10 frames .* at 8 fps, 16 are needed; set frames to at most 10"):
        read_clip(path, frames=16, size=8)
    with pytest.raises(VideoError, match="too short: 5 frames .* at 4 fps"):
        read_clip(path, frames=16, fps=4, size=8)
    with pytest.raises(VideoError, match="too short: 2 frames from 1 s at 8 fps"):
        read_clip(path, frames=3, start=1, size=8)
    assert len(read_clip(path, frames=5, fps=4, size=8)[0]) == 5
    with pytest.raises(VideoError, match="too short: 2 frames"):
        Image.fromarray(numbered(1)[0]).save(tmp_path / "1.png")
        Image.fromarray(numbered(1)[0]).save(tmp_path / "2.png")
        read_clip(tmp_path, frames=3, size=8)


def test_start_past_the_end(tmp_path: Path) -> None:
    path = encode(tmp_path / "clip.mp4", numbered(16))
    with pytest.raises(VideoError, match="clip.mp4: starts past the end: start is 9 s, the video lasts 2.00 s"):
        read_clip(path, frames=1, start=9, size=8)
    folder = tmp_path / "folder"
    folder.mkdir()
    Image.fromarray(numbered(1)[0]).save(folder / "1.png")
    with pytest.raises(VideoError, match="folder: starts past the end"):
        read_clip(folder, frames=1, start=9, size=8)


def test_truncated(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (48, 32, 32, 3), dtype=np.uint8)
    front = encode(tmp_path / "front.mkv", noise, g="8")  # its header comes first
    front.write_bytes(front.read_bytes()[: front.stat().st_size // 3])
    back = encode(tmp_path / "back.mp4", noise)  # its index comes last
    back.write_bytes(back.read_bytes()[: back.stat().st_size // 3])
    for path in (front, back):
        with pytest.raises(VideoError, match=f"{path.name}: .*truncated"):
            read_clip(path, frames=40, size=8)


def test_empty_folder_and_unreadable_image(tmp_path: Path) -> None:
    with pytest.raises(VideoError, match="the folder holds no images"):
        read_clip(tmp_path, frames=1, size=8)
    (tmp_path / "1.png").write_bytes(b"no picture")
    with pytest.raises(VideoError, match="1.png: cannot be read as an image"):
        read_clip(tmp_path, frames=1, size=8)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"frames": 0}, "frames must be at least 1"),
        ({"fps": 0.0}, "fps must be positive"),
        ({"fps": float("nan")}, "fps must be positive"),
        ({"start": -1.0}, "start must be 0 or more"),
        ({"crop": "left"}, "unknown crop 'left'. Choices: center, none"),
        ({"size": 0}, "size must be positive"),
        ({"size": [8]}, "size must be positive"),
    ],
)
def test_wrong_arguments(tmp_path: Path, wrong: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_clip(tmp_path, **{"frames": 1, "size": 8, **wrong})  # type: ignore[arg-type]
