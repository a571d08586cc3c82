"""Whole studies on a random backbone: run, fail in part, resume, be killed, report."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from motion_ablation.cli.studies import main
from motion_ablation.motion import MotionEmbeddings
from motion_ablation.study.plan.cards import read_card
from motion_ablation.study.plan.planning import Options, make_study
from motion_ablation.study.plan.study import Study
from motion_ablation.study.run.execute import execute

RUNS = ("no_motion", "baseline", "exploding", "mqk_spatial")


def _results(folder: Path) -> dict[str, dict[str, Any]]:
    return {str(path.parent.relative_to(folder)): json.loads(path.read_text()) for path in sorted(folder.glob("*/*/result.json"))}


def _arguments(lab: Path, config: Path, output: Path) -> list[str]:
    cards = [str(lab / "studies" / f"{name}.yaml") for name in ("first", "second")]
    return ["run", *cards, "--config", str(config), "--output", str(output), "--workers", "1"]


@pytest.fixture(scope="module")
def finished(lab: Path, quick_config: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, int, list[str]]:
    """The folder of a study with one failing experiment, its exit code, and its command."""
    output = tmp_path_factory.mktemp("output")
    arguments = _arguments(lab, quick_config, output / "trial")
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    return output / "trial", int(str(ended.value.code)), arguments


def test_one_failing_experiment_leaves_the_rest(finished: tuple[Path, int, list[str]]) -> None:
    folder, code, _ = finished
    results = _results(folder)
    assert code == 1
    assert set(results) == {f"{name}/orbit" for name in RUNS}, "integration_add shares the baseline's run"
    assert {name: result["status"] for name, result in results.items() if result["status"] != "done"} == {"exploding/orbit": "failed"}
    text = (folder / "table.md").read_text()
    assert "exploding/orbit failed: FloatingPointError: the loss is" in text
    assert "FloatingPointError" in (folder / "exploding" / "orbit" / "traceback.txt").read_text()
    assert "integration_add (= baseline)" in text


def test_the_truth_has_control_rows(finished: tuple[Path, int, list[str]]) -> None:
    folder, _, _ = finished
    text = (folder / "table.md").read_text()
    truth = text[text.index("Against the truth") :]
    row = next(line for line in truth.splitlines() if line.startswith("| reference itself"))
    assert float(row.split("|")[2].split()[0]) < 0.2, "its own trajectory error"


def test_a_run_leaves_everything_about_itself(finished: tuple[Path, int, list[str]]) -> None:
    folder, _, _ = finished
    run = folder / "baseline" / "orbit"
    assert {"result.json", "config.yaml", "motion.safetensors", "videos", "frames", "log.txt"} <= {path.name for path in run.iterdir()}
    assert list(run.glob("events.out.tfevents.*")) and not list(run.rglob("*.ckpt"))
    result = _results(folder)["baseline/orbit"]
    assert result["steps"] == 3 and len(result["cells"]) == 2 * 2 * 2
    assert _results(folder)["no_motion/orbit"]["steps"] == 0
    assert not (folder / "no_motion" / "orbit" / "motion.safetensors").exists()


def test_the_table_can_be_recomputed(finished: tuple[Path, int, list[str]]) -> None:
    folder, _, _ = finished
    cells = _results(folder)["mqk_spatial/orbit"]["cells"]
    values = [cell["text_similarity"] for cell in cells if cell["noise"] == "blend"]
    shown = f"{np.mean(values):.3f} ± {np.std(values, ddof=1) / len(values) ** 0.5:.3f}"
    blend = (folder / "table.md").read_text().split("Initial noise: random")[0]
    assert shown in next(line for line in blend.splitlines() if line.startswith("| mqk_spatial"))


def test_sheets_show_reference_and_experiments(finished: tuple[Path, int, list[str]]) -> None:
    folder, _, _ = finished
    assert {path.name for path in (folder / "sheets").iterdir()} == {
        f"orbit-{n}.{kind}" for n in ("blend", "random") for kind in ("png", "gif")
    }
    with Image.open(folder / "sheets" / "orbit-blend.png") as sheet:
        assert sheet.size == (4 * 128, 4 * (128 + 14)), "4 frames; reference, no_motion, baseline, mqk_spatial"
    with Image.open(folder / "sheets" / "orbit-blend.gif") as sheet:
        assert getattr(sheet, "n_frames", 1) == 4 and sheet.size[0] == 4 * 128


def test_a_finished_study_runs_nothing_again(finished: tuple[Path, int, list[str]], capsys: pytest.CaptureFixture[str]) -> None:
    folder, _, arguments = finished
    before = {path: path.stat().st_mtime_ns for path in folder.glob("*/*/*") if "exploding" not in str(path)}
    with pytest.raises(SystemExit):
        main(arguments)
    assert {path: path.stat().st_mtime_ns for path in before} == before
    told = capsys.readouterr().out
    assert "3 finished before" in told and "exploding/orbit: FAILED" in told and "baseline/orbit: done" not in told


def test_report_rebuilds_without_running(finished: tuple[Path, int, list[str]], capsys: pytest.CaptureFixture[str]) -> None:
    folder, _, _ = finished
    text = (folder / "table.md").read_text()
    (folder / "table.md").unlink()
    main(["report", str(folder)])
    assert (folder / "table.md").read_text() == text
    assert text in capsys.readouterr().out


def test_tensorboard_has_the_table_and_the_runs(finished: tuple[Path, int, list[str]]) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    folder, _, _ = finished
    study = EventAccumulator(str(folder / "study")).Reload()
    assert "table/text_summary" in study.Tags()["tensors"]
    run = EventAccumulator(str(folder / "baseline" / "orbit")).Reload().Tags()
    assert {"val/blend/text_similarity", "val/random/fid", "train/loss"} <= set(run["scalars"])
    assert "orbit/blend" in run["images"]


def test_an_edited_experiment_runs_again_alone(
    finished: tuple[Path, int, list[str]], lab: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, _, arguments = finished
    path, before = lab / "mqk_spatial.yaml", _results(folder)
    text = path.read_text()
    try:
        path.write_text(text + "  optimizer: {lr: 0.01}\n")
        with pytest.raises(SystemExit):
            main(arguments)
    finally:
        path.write_text(text)
    after = _results(folder)
    assert after["mqk_spatial/orbit"]["recipe"] != before["mqk_spatial/orbit"]["recipe"]
    assert after["mqk_spatial/orbit"]["config"]["model"]["optimizer"]["lr"] == 0.01
    assert after["baseline/orbit"] == before["baseline/orbit"]
    capsys.readouterr()


def test_an_edit_after_planning_does_not_reach_the_runs(lab: Path, quick_config: Path, tmp_path: Path) -> None:
    card = read_card(lab / "studies" / "second.yaml")
    experiment = lab / "mqk_spatial.yaml"
    text = experiment.read_text()
    try:
        study = make_study([card], tmp_path / "study", Options(configs=[str(quick_config)], seeds=[0]))
        experiment.write_text(text + "  sampling: {guidance: 9.0}\n")
        run = study.run_of("mqk_spatial", "orbit")
        result = execute(run)
    finally:
        experiment.write_text(text)
    assert result["status"] == "done" and result["recipe"] == run.recipe
    sampling = result["config"]["model"]["sampling"]
    assert sampling["guidance"] == run.config["model"]["sampling"]["guidance"] != 9.0
    assert result["config"]["data"] == run.config["data"] and result["config"]["model"] == run.config["model"]


def test_workers_and_a_broken_reference(lab: Path, quick_config: Path, tmp_path: Path) -> None:
    video = tmp_path / "broken.mp4"
    video.write_bytes(b"not a video at all")
    video.with_suffix(".txt").write_text("a caption")
    arguments = [
        "run",
        str(lab / "studies" / "second.yaml"),
        "--config",
        str(quick_config),
        "--output",
        str(tmp_path / "second"),
        "--workers",
        "2",
    ]
    with pytest.raises(SystemExit) as ended:
        main([*arguments, "--references", "builtin:slide", str(video), "--seeds", "0", "--prompts", "a red star on a blue background"])
    results = _results(tmp_path / "second")
    assert ended.value.code == 1
    assert {name for name, result in results.items() if result["status"] == "done"} == {
        f"{name}/slide" for name in ("no_motion", "baseline", "mqk_spatial")
    }
    assert "cannot be decoded" in results["baseline/broken"]["reason"]
    assert {len(result["cells"]) for result in results.values() if "cells" in result} == {2}, "one prompt, one seed, two noises"
    assert "baseline (1 of 2 references)" in (tmp_path / "second" / "table.md").read_text()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["run", "nowhere.yaml"], "nowhere.yaml: no such card"),
        (["run", "CARD", "--references", "builtin:nothing"], "unknown built-in reference 'nothing'. Choices: orbit"),
        (["run", "CARD", "--references", "gone.mp4"], "gone.mp4: no such file"),
        (["run", "CARD", "--config", "gone.yaml"], "gone.yaml: no such configuration"),
        (["report", "nowhere"], "nowhere holds no study"),
        (["list", "nowhere"], "nowhere: no such folder"),
        (["run", "CARD", "--steps", "0"], "'0' is not a whole number from 1 up"),
        (["walk"], "invalid choice: 'walk'"),
    ],
)
def test_mistakes_end_with_one_line(
    arguments: list[str], told: str, lab: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        main([str(lab / "studies" / "second.yaml") if argument == "CARD" else argument for argument in arguments])
    error = capsys.readouterr().err.strip()
    assert ended.value.code == 2
    assert told in error.splitlines()[-1] and "Traceback" not in error


def test_a_mistake_that_all_experiments_share_is_told_at_once(lab: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text("model:\n  sampling: {stepz: 3}\n")
    with pytest.raises(SystemExit) as ended:
        main(["run", str(lab / "studies" / "second.yaml"), "--config", str(wrong), "--output", str(tmp_path / "second")])
    assert ended.value.code == 2 and "stepz" in capsys.readouterr().err
    assert not (tmp_path / "second").exists()


def test_two_processes_do_not_share_a_study(finished: tuple[Path, int, list[str]], capsys: pytest.CaptureFixture[str]) -> None:
    from motion_ablation.study.run.runner import locked

    folder, _, arguments = finished
    with locked(folder), pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2 and "another process is running this study" in capsys.readouterr().err


def test_list_shows_experiments_cards_axes_and_references(capsys: pytest.CaptureFixture[str], lab: Path) -> None:
    main(["list", str(lab)])
    told = capsys.readouterr().out
    spaced = " ".join(told.split())  # columns are as wide as their names
    for line in (
        "mqk_spatial Full inclusion of spatial",
        "first A hypothesis.",
        "sites.stages parts of the network: down, mid, up (animatediff); ",
        "; down, mid, up, in (unet3d)",
        "coarse_grid A",
        "orbit a",
    ):
        assert line in spaced
    assert "experiments" in told and "integrations" in told and "metrics" in told


def test_help_is_quick_and_complete() -> None:
    began = time.monotonic()
    told = subprocess.run(
        [sys.executable, "-m", "motion_ablation.cli.studies", "--help"], capture_output=True, text=True, check=True
    ).stdout
    assert all(command in told for command in ("run", "report", "list", "pretrain-report"))
    assert time.monotonic() - began < 10


def test_a_card_of_generate_time_factors_trains_once(
    lab: Path, quick_config: Path, tmp_path: Path, card_maker: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(lab, tmp_path / "experiments")
    folder, output = tmp_path / "experiments", tmp_path / "out"
    (folder / "centred.yaml").write_text("# Centred.\nmodel:\n  motion:\n    v: {debias: {name: mean_centred}}\n")
    (folder / "fresh.yaml").write_text("# Random noise.\ndata:\n  noises: [random]\n")
    own = tmp_path / "own.yaml"
    changed = yaml.safe_load(quick_config.read_text())
    changed["model"]["cache"] = str(tmp_path / "cache")
    own.write_text(yaml.safe_dump(changed))
    card = card_maker(folder, "debias", ["centred", "fresh"], factors="generate")
    main(["show", str(card), "--config", str(own), "--output", str(output)])
    shown = capsys.readouterr().out
    assert not output.exists(), "showing runs nothing"
    rows = {line.split("|")[1].strip(): [cell.strip() for cell in line.split("|")[2:]] for line in shown.splitlines() if "|" in line}
    assert rows["baseline"][0] == "1"
    assert rows["centred"][0] == rows["fresh"][0] == "shared"
    # Training: 3 steps count 3 each. Videos: 2 prompts, 2 seeds, 2 noises (1 for fresh), 2 sampling steps with guidance.
    assert rows["baseline"][3] == str(3 * 3 + 8 * 2 * 2)
    assert rows["fresh"][1:4:2] == ["4", str(4 * 2 * 2)]
    main(["run", str(card), "--config", str(own), "--output", str(output), "--workers", "1"])
    kept = {name: MotionEmbeddings.load(output / name / "orbit" / "motion.safetensors") for name in ("baseline", "centred", "fresh")}
    for name, value in kept["baseline"].state_dict().items():
        assert all(torch.equal(module.state_dict()[name], value) for module in kept.values()), "one training for all"
    debiases = {name: module.config.streams()["v"].debias["name"] for name, module in kept.items()}
    assert debiases == {"baseline": "difference", "centred": "mean_centred", "fresh": "difference"}, "each file says its own debias"
    assert not list((output / "centred" / "orbit").glob("*.ckpt"))
    results = {
        name: json.loads((output / name / "orbit" / "result.json").read_text())["metrics"] for name in ("baseline", "centred", "fresh")
    }
    assert results["fresh"]["random/text_similarity"] == pytest.approx(results["baseline"]["random/text_similarity"], abs=1e-6)
    assert results["centred"]["random/fid"] != results["baseline"]["random/fid"]
    alone = tmp_path / "alone"
    changed["model"]["cache"] = str(tmp_path / "other")
    own.write_text(yaml.safe_dump(changed))
    main(["run", str(card_maker(folder, "alone", ["centred"])), "--config", str(own), "--output", str(alone), "--workers", "1"])
    again = json.loads((alone / "centred" / "orbit" / "result.json").read_text())["metrics"]
    for name, value in results["centred"].items():  # trained by itself it scores the same
        assert again[name] == (value if value is None else pytest.approx(value, abs=1e-6)), name


def test_a_card_that_says_generate_but_trains_otherwise_is_refused(
    lab: Path, quick_config: Path, tmp_path: Path, card_maker: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(lab, tmp_path / "experiments")
    card = card_maker(tmp_path / "experiments", "wrong", ["mqk_spatial"], factors="generate")
    with pytest.raises(SystemExit, match="2"):
        main(["show", str(card), "--config", str(quick_config)])
    assert "'mqk_spatial' trains otherwise than 'baseline'; set factors: train" in capsys.readouterr().err


def test_a_study_is_read_from_where_it_is(finished: tuple[Path, int, list[str]]) -> None:
    folder, _, _ = finished
    study = Study.load(folder)
    assert [run.name for run in study.runs] == [f"{name}/orbit" for name in RUNS]
    assert study.same_as == {"integration_add": "baseline"}
    assert os.fspath(study.runs[0].folder) == str(folder / "no_motion" / "orbit")
