"""Manifests of benchmark sets: ranges of frames, kinds and strata, and sets as users have downloaded them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from motion_ablation.cli.studies import main
from motion_ablation.data.reference import ReferenceDataModule
from motion_ablation.data.sets import SETS, manifest_rows
from motion_ablation.data.sources import find_sources
from motion_ablation.data.video import VideoError, read_clip, write_video
from motion_ablation.data.window import FrameRange


def frames(folder: Path, count: int = 6, size: int = 16) -> Path:
    """A folder of frames; the grey of each is its number."""
    folder.mkdir(parents=True)
    for number in range(count):
        Image.new("RGB", (size, size), (10 * number,) * 3).save(folder / f"{number:05d}.png")
    return folder


def greys(clip: torch.Tensor) -> list[int]:
    return (clip[:, 0, 0, 0] * 255).round().int().tolist()


def manifest(folder: Path, **row: object) -> str:
    (folder / "list.jsonl").write_text(json.dumps({"path": "clip", "caption": "a clip", **row}))
    return str(folder / "list.jsonl")


@given(st.integers(0, 40), st.integers(1, 60), st.integers(1, 7), st.integers(1, 30))
def test_a_range_is_a_slice(start: int, length: int, step: int, count: int) -> None:
    span = FrameRange.parse(f"{start}:{start + length}:{step}", "here")
    assert list(span.numbers(count)) == list(range(200))[start : start + length : step][:count]
    assert FrameRange.parse(str(span), "here") == span


@pytest.mark.parametrize("text", ["3", "a:b", "5:5", "-1:4", "0:4:0", "1:2:3:4"])
def test_a_wrong_range_is_named(text: str) -> None:
    with pytest.raises(ValueError, match=f"line 1: frames must be start:end.*{text}"):
        FrameRange.parse(text, "line 1")


def test_frames_are_read_by_number(tmp_path: Path) -> None:
    frames(tmp_path / "clip")
    clip = ReferenceDataModule(manifest(tmp_path, frames="1:6:2"), frames=3, size=16).dataset[0]
    assert greys(clip.frames) == [10, 30, 50] and clip.fps == 4
    with pytest.raises(VideoError, match="frames 1:4:2 hold 2, 3 are needed"):
        ReferenceDataModule(manifest(tmp_path, frames="1:4:2"), frames=3, size=16).dataset[0]
    with pytest.raises(ValueError, match="not both"):
        find_sources([manifest(tmp_path, frames="1:4", start=2)])


def test_frames_of_a_video_are_not_resampled(tmp_path: Path) -> None:
    write_video(tmp_path / "clip.mp4", torch.arange(10).view(10, 1, 1, 1).expand(10, 3, 32, 32) / 10, 25, crf=0)
    whole, _ = read_clip(tmp_path / "clip.mp4", frames=10, size=32)
    clip = ReferenceDataModule(manifest(tmp_path, path="clip.mp4", frames="2::3"), frames=3, size=32, fps=8).dataset[0]
    assert torch.equal(clip.frames, whole[[2, 5, 8]]) and clip.fps == pytest.approx(25 / 3)


def test_two_ranges_of_one_video_are_two_references(tmp_path: Path) -> None:
    frames(tmp_path / "clip")
    rows = [{"path": "clip", "caption": "a clip", "name": name, "frames": span} for name, span in (("first", "0:3"), ("second", "3:6"))]
    (tmp_path / "list.jsonl").write_text("\n".join(map(json.dumps, rows)))
    module = ReferenceDataModule(str(tmp_path / "list.jsonl"), frames=3, size=16)
    assert [source.name for source in module.dataset.sources] == ["first", "second"] and greys(module.dataset[1].frames) == [30, 40, 50]


def test_strata_are_of_prompts(tmp_path: Path) -> None:
    frames(tmp_path / "clip")
    (source,) = find_sources([manifest(tmp_path, prompts=["a cat", "a moon"], kinds=["subject", "scene"], stratum="hard")])
    assert source.strata() == {"a cat": "hard, subject", "a moon": "hard, scene"}
    assert find_sources([manifest(tmp_path, prompts=["a cat"], stratum="hard")])[0].strata() == {"a cat": "hard"}
    with pytest.raises(ValueError, match="kinds must be as many as prompts, 1, not 2"):
        find_sources([manifest(tmp_path, prompts=["a cat"], kinds=["subject", "scene"])])
    with pytest.raises(VideoError, match=r"masks: no such file or folder \(.*line 1\)"):
        find_sources([manifest(tmp_path, mask="masks")])


def test_csv_has_the_same_columns(tmp_path: Path) -> None:
    frames(tmp_path / "clip")
    (tmp_path / "list.csv").write_text("path,caption,frames,prompts,kinds,stratum\nclip,a clip,0:6:2,a cat | a moon,subject|scene,hard\n")
    (source,) = find_sources([str(tmp_path / "list.csv")])
    assert source.range == FrameRange(0, 6, 2) and source.strata() == {"a cat": "hard, subject", "a moon": "hard, scene"}


class TestSets:
    def converted(self, name: str, folder: Path) -> list:
        """What the command writes for a set, read back."""
        main(["manifest", name, str(folder), "--output", str(folder.parent / "out.jsonl")])
        return find_sources([str(folder.parent / "out.jsonl")])

    def test_davis(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        own = tmp_path / "DAVIS"
        for name in ("camel", "bear"):
            frames(own / "JPEGImages" / "480p" / name)
        frames(own / "Annotations" / "480p" / "bear")
        bear, camel = self.converted("davis", own)
        assert (bear.name, camel.name) == ("bear", "camel") and bear.mask.is_dir() and camel.mask is None
        assert "2 references, 0 prompts; 2 have no caption" in capsys.readouterr().out

    def test_ditflow(self, tmp_path: Path) -> None:
        own = tmp_path / "DAVIS"
        frames(own / "JPEGImages" / "480p" / "bear")
        with pytest.raises(VideoError, match="prompts.csv: no such file.*columns video, caption, subject, scene"):
            manifest_rows("ditflow", own)
        (own / "prompts.csv").write_text('video,caption,subject,scene\nbear,"a bear, walking",a cow walking,a robot on the moon\n')
        (bear,) = self.converted("ditflow", own)
        assert bear.caption == "a bear, walking" and list(bear.strata().values()) == ["caption", "subject", "scene"]
        (own / "prompts.csv").write_text("video,caption,subject,scene\nbear,a bear,,a robot\n")
        with pytest.raises(VideoError, match="line 2: has no subject"):
            manifest_rows("ditflow", own)

    def test_motion_inversion(self, tmp_path: Path) -> None:
        own = tmp_path / "videos"
        own.mkdir()
        write_video(own / "car.mp4", torch.rand(4, 3, 32, 32), 8)
        (own / "prompts.csv").write_text("video,caption,prompts\ncar,a car turns,a bus turns | a ship | a tank\n")
        (car,) = self.converted("motion_inversion", own)
        assert car.prompts == ("a bus turns", "a ship", "a tank") and car.strata() == dict.fromkeys(car.prompts, "")

    def test_mtbench(self, tmp_path: Path) -> None:
        own = tmp_path / "MTBench"
        for stratum, name in (("easy", "swan"), ("hard", "dance-twirl")):
            folder = own / f"MTBench_{stratum}" / name
            (folder / "videos").mkdir(parents=True)
            write_video(folder / "videos" / f"{name}.mp4", torch.rand(4, 3, 32, 32), 8)
            for file, text in (("videos", f"videos/{name}.mp4"), ("prompts", f"a {name}"), ("masks", f"masks/{name}")):
                (folder / f"{file}.txt").write_text(text)
            (folder / "eval_prompts.txt").write_text("A robot.  \n\nA chef.")
        frames(own / "MTBench_hard" / "dance-twirl" / "masks")
        swan, dance = self.converted("mtbench", own)
        assert (swan.name, swan.caption, swan.strata()) == ("swan", "a swan", {"A robot.": "easy", "A chef.": "easy"})
        assert dance.stratum == "hard" and dance.mask.name == "masks" and swan.mask is None and dance.trajectories is None

    def test_tgve(self, tmp_path: Path) -> None:
        own = tmp_path / "loveu-tgve-2023"
        frames(own / "DAVIS_480p" / "480p_frames" / "gold-fish")
        edits = "Style Change Caption,Object Change Caption,Background Change Caption,Multiple Changes Caption"
        head = f"Video name,Our GT caption,{edits}"
        (own / "data.csv").write_text(f"{head}\nDAVIS,,,,,\ngold-fish,Fish swim.,Fish in oil.,Sharks swim.,Fish in a pond.,Koi.\n")
        (fish,) = self.converted("tgve", own)
        assert fish.caption == "Fish swim." and fish.strata()["Sharks swim."] == "davis, object"
        (own / "data.csv").write_text(f"{head}\nbear,A bear.,a,b,c,d\n")
        with pytest.raises(VideoError, match="no frames of 'bear'"):
            manifest_rows("tgve", own)

    @pytest.mark.parametrize("name", SETS)
    def test_an_empty_folder_is_no_set(self, name: str, tmp_path: Path) -> None:
        with pytest.raises(VideoError, match="holds no video|no such file|no spreadsheet"):
            manifest_rows(name, tmp_path)
        assert SETS.describe(name)
