"""Scoring videos on disk: the numbers are the metrics' own, and bad input is told in one line."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from motion_ablation.cli.studies import main
from motion_ablation.data.video import VideoError, read_clip, write_gif, write_video
from motion_ablation.data.world.shapes import Scene, render
from motion_ablation.evaluation.files import ITSELF, score_files
from motion_ablation.metrics import METRICS, MotionFidelity

SCENE = Scene("square", "red", "green", "moving right", start=(0.0, 0.1), radius=0.32)


def frames(scene: Scene, count: int = 8) -> torch.Tensor:
    return torch.from_numpy(render(scene, count)[0])


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clips")
    other = replace(SCENE, shape="star", color="cyan", background="purple")
    write_video(folder / "reference.mp4", frames(SCENE), 8)
    write_video(folder / "same.mp4", frames(other), 8)
    write_gif(folder / "back.gif", frames(replace(other, motion="moving left"), 12), 12)
    (folder / "images").mkdir()
    for number, picture in enumerate(frames(other)):
        Image.fromarray((picture.permute(1, 2, 0).numpy() * 255).round().astype(np.uint8)).save(folder / "images" / f"{number}.png")
    (folder / "same.txt").write_text("a cyan star\n on a purple background\n")
    return folder


def test_scores_are_the_metrics_own_and_the_right_motion_wins(clips: Path) -> None:
    scores = score_files(clips / "reference.mp4", [clips / "same.mp4", clips / "back.gif", clips / "images"], prompt="a red star")
    assert [row["video"] for row in scores.rows] == [ITSELF, *(str(clips / name) for name in ("same.mp4", "back.gif", "images"))]
    assert [row["prompt"] for row in scores.rows] == ["a red star", "a cyan star on a purple background", "a red star", "a red star"]
    itself, same, back, images = (row["motion_fidelity"] for row in scores.rows)
    assert itself == pytest.approx(1) and same > 0.8 and images > 0.8 and back < 0
    read = [read_clip(clips / name, frames=8, size=64)[0][None] for name in ("same.mp4", "reference.mp4")]
    assert same == pytest.approx(MotionFidelity().score(*read).item(), abs=1e-6)
    assert set(scores.sets) == {name for name in METRICS if not METRICS[name].per_sample}
    assert scores.rows[0]["appearance_leakage"] == pytest.approx(1, abs=1e-5) and "subject_consistency" in scores.skipped
    assert "static_tracks" in scores.protocols["motion_fidelity"]


def test_command_prints_a_table_and_writes_json(clips: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    chosen = ["motion_fidelity", "text_similarity", "fid"]
    main(["score", *map(str, (clips / "reference.mp4", clips / "images")), "--metrics", *chosen, "--json", str(tmp_path / "s.json")])
    out = capsys.readouterr().out
    assert ITSELF in out and "motion_fidelity ↑" in out and "warning, fid: 8 frames < 64" in out and "text_similarity left out" in out
    found = json.loads((tmp_path / "s.json").read_text())
    assert [row["video"] for row in found["rows"]] == [ITSELF, str(clips / "images")] and found["sets"]["fid"] > 0
    assert found["protocols"]["motion_fidelity"]["protocol"] == "calibrated"


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ("broken.mp4", "cannot be decoded"),
        ("cut.mp4", "truncated|cannot be decoded"),
        ("empty", "holds neither images nor videos|holds no images"),
        ("one", "at least 2 frames"),
    ],
)
def test_one_bad_video_is_a_row_with_its_reason(
    clips: Path, bad: str, message: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(clips)
    Path("broken.mp4").write_bytes(b"not a video at all")
    Path("cut.mp4").write_bytes(Path("same.mp4").read_bytes()[:-400])
    Path("empty").mkdir(exist_ok=True)
    Path("one").mkdir(exist_ok=True)
    Path("one/0.png").write_bytes(Path("images/0.png").read_bytes())
    with pytest.raises(SystemExit) as stopped:
        main(["score", "reference.mp4", bad, "same.mp4", "--metrics", "temporal_consistency", "motion_fidelity", "--json", "found.json"])
    assert stopped.value.code == 1
    rows = json.loads(Path("found.json").read_text())["rows"]
    assert [row["video"] for row in rows][1:] == [bad, "same.mp4"]
    assert re.search(message, rows[1]["failed"]) and "failed" not in rows[2] and rows[2]["motion_fidelity"] is not None
    assert re.search(f"{bad} failed: .*({message})", capsys.readouterr().out)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["reference.mp4", "same.mp4", "gone.mp4"], "gone.mp4: no such file or folder"),
        (["broken.mp4", "same.mp4"], "cannot be decoded"),
        (["reference.mp4", "same.mp4", "--metrics", "fidd"], "unknown metric 'fidd'. Did you mean 'fid'?"),
        (["reference.mp4", "same.mp4", "--tracker", "opencvv"], "opencv"),
        (["reference.mp4", "same.mp4", "--metrics", "subject_consistency"], "hf download facebook/dino-vitb16"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(
    clips: Path, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(clips)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    Path("broken.mp4").write_bytes(b"not a video at all")
    with pytest.raises(SystemExit) as stopped:
        main(["score", *arguments])
    errors = capsys.readouterr().err
    assert stopped.value.code == 2
    line = [line for line in errors.splitlines() if line.startswith("motion-ablation:")]
    assert len(line) == 1 and any(part in line[0] for part in message.split("|")), errors


def test_shorter_reads_what_there_is_and_no_more(clips: Path) -> None:
    assert read_clip(clips / "same.mp4", frames=100, size=32, shorter=True)[0].shape == (8, 3, 32, 32)
    with pytest.raises(VideoError, match="too short"):
        read_clip(clips / "same.mp4", frames=100, size=32)
