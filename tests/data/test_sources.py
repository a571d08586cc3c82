"""References as people have them: names, folders, copies, encodings."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from motion_ablation.data.reference import ReferenceDataModule
from motion_ablation.data.sources import NAME, caption_beside, find_sources, shortened
from motion_ablation.data.video import VideoError, write_video


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    path = tmp_path / "clip.mp4"
    write_video(path, torch.rand(6, 3, 32, 32), 8)
    path.with_suffix(".txt").write_text("a clip")
    return path


@given(st.text(min_size=1), st.integers(20, 100))
def test_a_shortened_name_fits_and_keeps_names_apart(name: str, limit: int) -> None:
    short = shortened(name, limit)
    assert len(short.encode("utf-8", "surrogatepass")) <= limit
    assert shortened(name + "x" * 300, limit) != shortened(name + "x" * 299, limit)


def test_long_names_are_cut_by_bytes(tmp_path: Path, clip: Path) -> None:
    names = ["视" * 80, "视" * 79 + "频"]
    for name in names:
        shutil.copy(clip, tmp_path / f"{name}.mp4")
    found = [source.name for source in find_sources([str(tmp_path / f"{name}.mp4") for name in names])]
    assert len(set(found)) == 2 and all(len(name.encode()) <= NAME for name in found)


def test_names_that_differ_in_case_only_are_told_apart(tmp_path: Path, clip: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
    shutil.copy(clip, tmp_path / "a" / "Clip.mp4")
    shutil.copy(clip, tmp_path / "b" / "clip.mp4")
    found = find_sources([str(tmp_path / "a" / "Clip.mp4"), str(tmp_path / "b" / "clip.mp4")])
    assert [source.name for source in found] == ["Clip", "clip-2"]


def test_one_bare_path_is_a_list_of_one(clip: Path) -> None:
    assert [source.path for source in find_sources(str(clip))] == [clip]
    assert len(ReferenceDataModule(str(clip), frames=4, size=32).dataset) == 1


def test_home_is_the_home_folder(clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(clip.parent))
    assert find_sources(["~/clip.mp4"])[0].path == clip


def test_a_folder_of_videos_is_its_videos(tmp_path: Path, clip: Path) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    with pytest.raises(VideoError, match="holds neither images nor videos"):
        find_sources([str(folder)])
    for name in ("two.mp4", "one.MP4", "._one.mp4"):
        shutil.copy(clip, folder / name)
    assert [source.name for source in find_sources([str(folder)])] == ["one", "two"]


def test_the_same_video_under_another_name_is_refused(tmp_path: Path, clip: Path) -> None:
    copy = shutil.copy(clip, tmp_path / "copy.mp4")
    shutil.copy(clip.with_suffix(".txt"), tmp_path / "copy.txt")
    with pytest.raises(ValueError, match="'clip' and 'copy' are the same video"):
        ReferenceDataModule([str(clip), str(copy)], frames=4, size=32)
    with pytest.raises(ValueError, match="the same video"):
        ReferenceDataModule([str(clip), str(clip)], frames=4, size=32)
    with pytest.raises(ValueError, match="the same video"):
        ReferenceDataModule(["builtin:orbit", "builtin:orbit"], frames=4, size=32)
    (tmp_path / "copy.txt").write_text("another caption")
    assert len(ReferenceDataModule([str(clip), str(copy)], frames=4, size=32).dataset) == 2


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-8"])
def test_a_byte_order_mark_is_no_part_of_a_caption(clip: Path, encoding: str) -> None:
    clip.with_suffix(".txt").write_text("ein Würfel\n", encoding=encoding)
    assert caption_beside(clip) == "ein Würfel"


@pytest.mark.parametrize("encoding", ["latin-1", "utf-16"])
def test_another_encoding_is_named(clip: Path, encoding: str) -> None:
    clip.with_suffix(".txt").write_text("ein Würfel", encoding=encoding)
    with pytest.raises(ValueError, match=r"clip.txt: is not UTF-8 text; save it as UTF-8"):
        caption_beside(clip)
    manifest = clip.with_suffix(".csv")
    manifest.write_text("path,caption\nclip.mp4,ein Würfel\n", encoding=encoding)
    with pytest.raises(ValueError, match=r"clip.csv: is not UTF-8 text; save it as UTF-8"):
        find_sources([str(manifest)])


@pytest.mark.parametrize("seed", [2**63, -(2**63) - 1])
def test_seeds_of_more_than_64_bits_are_refused(clip: Path, seed: int) -> None:
    with pytest.raises(ValueError, match=r"seeds must be whole numbers of 64 bits"):
        ReferenceDataModule([str(clip)], frames=4, size=32, seeds=[seed])


@pytest.mark.parametrize("prompts", [[" "], ["a", "a"], [""]])
def test_blank_and_repeated_prompts_are_refused(clip: Path, prompts: list[str]) -> None:
    with pytest.raises(ValueError, match="prompts"):
        ReferenceDataModule([str(clip)], frames=4, size=32, prompts=prompts)
