"""The ``lightning`` command: help, refusals before any weight is read, every shipped experiment, prediction, resuming."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from motion_ablation import module
from motion_ablation.cli import lightning
from motion_ablation.cli.lightning import at_home, last_checkpoint, main
from motion_ablation.motion import MotionConfig, MotionEmbeddings, read_embedding

ROOT = Path(__file__).parents[2]
EXPERIMENTS = sorted((ROOT / "experiments").glob("*.yaml"))


def is_plain(path: Path) -> bool:
    """Whether an experiment has nothing to train."""
    return yaml.safe_load(path.read_text())["model"].get("motion", {}) is None if "model:" in path.read_text() else False


@pytest.fixture
def no_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    """Loading a backbone fails the test."""

    def load(config: Any) -> None:
        pytest.fail(f"{config} was loaded")

    monkeypatch.setattr(module, "load_backbone", load)


def refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """Standard error of a command that must fail, without the hint on tracebacks: one line."""
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code not in (0, None)
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("lightning: ")]
    assert len(lines) == 1
    return lines[0]


# Help.


@pytest.mark.parametrize("arguments", [[], ["--help"], ["-h"]])
def test_help_says_what_there_is(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    main(arguments)
    text = capsys.readouterr().out
    assert all(word in text for word in ("fit", "validate", "test", "predict", "experiments/mqk_partial.yaml", "motion-ablation", "fabric"))


def test_a_wrong_command_says_what_there_is(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["run", "app"])
    assert stopped.value.code == 2
    assert "'run' is not a command" in (error := capsys.readouterr().err) and "usage: lightning {fit" in error


def test_help_of_fit(capsys: pytest.CaptureFixture[str], no_weights: None) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["fit", "--help"])
    assert stopped.value.code == 0
    text = capsys.readouterr().out
    assert all(option in text for option in ("--model.motion", "--data.references", "--trainer.max_steps", "--model.sampling.guidance"))


@pytest.mark.parametrize("path", EXPERIMENTS, ids=lambda path: path.stem)
def test_print_config(path: Path, capsys: pytest.CaptureFixture[str], no_weights: None) -> None:
    """The printed configuration is complete, and holds the experiment's difference from the defaults."""
    with pytest.raises(SystemExit) as stopped:
        main(["fit", "--config", str(path), "--print_config"])
    assert stopped.value.code == 0
    printed = yaml.safe_load(capsys.readouterr().out)
    assert printed["trainer"]["max_steps"] == 60
    difference = yaml.safe_load(path.read_text())

    def holds(whole: Any, part: Any) -> bool:
        return all(key in whole and holds(whole[key], value) for key, value in part.items()) if isinstance(part, dict) else whole == part

    if is_plain(path):
        assert not any((printed["model"].pop("motion", None) or {}).get(stream) for stream in ("qk", "v"))
        del difference["model"]
    assert holds(printed, difference)


def test_zeroscope_composes_with_an_experiment(capsys: pytest.CaptureFixture[str], no_weights: None) -> None:
    files = [ROOT / "experiments" / name for name in ("backbones/zeroscope.yaml", "mqk_partial.yaml")]
    with pytest.raises(SystemExit):
        main(["fit", *(word for file in files for word in ("--config", str(file))), "--print_config"])
    printed = yaml.safe_load(capsys.readouterr().out)
    assert printed["model"]["motion"]["qk"]["layout"]["name"] == "coarse_grid"
    assert printed["model"]["motion"]["v"]["layout"] == {"name": "per_location"}
    assert printed["model"]["backbone"]["source"] == "cerspense/zeroscope_v2_576w"
    assert (printed["data"]["frames"], printed["data"]["size"]) == (24, [320, 576])


def test_the_defaults_are_the_paper_at_all_widths() -> None:
    """The paper's widest sites see too few places in the built-in backbone; the real backbones' configurations name them again."""
    motion = yaml.safe_load((ROOT / "motion_ablation" / "configure" / "defaults.yaml").read_text())["model"]["motion"]
    assert motion["sites"].pop("channels") == "all"
    assert MotionConfig.from_dict(motion) == MotionConfig.paper()
    for path in (ROOT / "experiments" / "backbones").glob("*.yaml"):
        model = yaml.safe_load(path.read_text())["model"]
        if model["backbone"].get("name") in ("wan", "cogvideox"):
            assert model["motion"]["sites"] == {"stages": ["blocks"], "channels": "all", "depth": [0.5, 0.6]}
        else:
            assert model["motion"] == {"sites": {"channels": "widest"}}


def test_real_backbones_train_as_the_authors_do() -> None:
    """The defaults' rate, steps and timesteps were chosen for the built-in model."""
    for path in (ROOT / "experiments" / "backbones").glob("*.yaml"):
        found = yaml.safe_load(path.read_text())
        assert found["model"]["optimizer"] == {"lr": 0.02, "adapter_lr": 0.0005} and found["model"]["timesteps_from"] == 0
        assert found["trainer"] == {"max_steps": 400, "check_val_every_n_epoch": 20}, "400 of the defaults' 20 steps an epoch"


# Refusals.


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--modle.cache=x", "unknown key 'modle'. Did you mean 'model'? Choices: "),
        ("--data.framse=3", "unknown key 'framse' in data. Did you mean 'frames'? Choices: "),
        ("--model.sampling.stpes=3", "unknown key 'stpes' in model.sampling. Did you mean 'steps'? Choices: guidance, inversion_start"),
        ("--model.motion.vv.side=x", "unknown key 'vv' in model.motion. Did you mean 'v'? Choices: adapter, qk, sites, v"),
        ("--model.motion.qk.layuot.name=x", "unknown key 'layuot' in model.motion.qk. Did you mean 'layout'? Choices: debias, integration"),
        ("--trainer.max_stesp=3", "unknown key 'max_stesp' in trainer. Did you mean 'max_steps'? Choices: accelerator"),
        ("--model.motion.qk.layout.name=per_fram", "unknown layout 'per_fram'. Did you mean 'per_frame'? Choices: axial, coarse_grid"),
        ("--model.motion.v.integration.name=sum", "motion.v.integration: unknown integration 'sum'. Choices: add, concat_channel"),
        ("--model.motion.v.debias.name=diff", "motion.v.debias: unknown debias 'diff'"),
        ("--model.motion.qk.ports=[q,x]", "is not a non-empty choice of q, k, v"),
        ("--model.motion.qk.side=middle", "motion.qk.side: 'middle' is not one of inputs, outputs"),
        ("--model.motion.sites.stages=[dwn]", "this backbone has no 'dwn'. Choices: down, mid, up, in"),
        ("--model.objective.name=mse", "model.objective: unknown objective 'mse'. Choices: appearance_debiased, denoising"),
        ("--model.backbone.name=unet", "model.backbone: unknown backbone 'unet'. Did you mean 'unet3d'?"),
        ("--model.backbone.options={dytpe: float16}", "backbone 'unet3d' has no option 'dytpe'. Options: source, dtype, vae_slicing"),
        ("--model.sampling.noises.blnd.rho=0.5", "unknown initial noise 'blnd'. Did you mean 'blend'?"),
        ("--model.sampling.guidance=0", "sampling.guidance must be at least 1"),
        ("--model.motion.qk.layout={name: per_frame, size: 3}", "layout 'per_frame' has no option 'size'. Options: none"),
        ("--model.motion.v.debias={name: difference, lag: 0}", "lag must be a whole number of at least 1, not 0"),
        ("--model.optimizer.lr=fast", "Parser key \"model.optimizer.lr\": Expected a <class 'float'>. Got value: fast"),
        ("--model.embedding=none.safetensors", "no motion embedding at none.safetensors"),
        ("--data.noises=[blnd]", "data.noises: unknown initial noise 'blnd'. Did you mean 'blend'? Choices: blend, fft, inverted"),
        ("--data.references=[builtin:orbti]", "unknown built-in reference 'orbti'. Choices: orbit"),
        ("--data.references=[none.mp4]", "none.mp4: no such file or folder"),
        (
            "--evaluation.metrics+=kdi",
            "evaluation.metrics: unknown metric 'kdi'. Did you mean 'kid'? Choices: appearance_leakage, ",
        ),
        ("--evaluation.metrics=[{name: fid, feature: x}]", "evaluation.metrics: metric 'fid' has no option 'feature'. Options: features"),
        ("--evaluation.metrics=[fid, {name: fid}]", "evaluation.metrics: 'fid' comes twice"),
        ("--evaluation.encodr=x", "unknown key 'encodr' in evaluation. Did you mean 'encoder'? Choices: encoder, metrics, tracker"),
        ("--evaluation.encoder=nobody/clip", "the weights of 'nobody/clip' are not on this machine"),
        (
            "--model.backbone.source=cerspense/zeroscope_v2_576w",
            "evaluation.encoder is not set: the built-in CLIP cannot judge videos of 'cerspense/zeroscope_v2_576w' (text_similarity, ",
        ),
    ],
)
def test_a_mistake_is_refused_before_weights(options: str, message: str, capsys: pytest.CaptureFixture[str], no_weights: None) -> None:
    assert message in refused(["fit", options], capsys)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("model: {motion: {qk: {layuot: {name: per_frame}}}}", "unknown key 'layuot' in model.motion.qk. Did you mean 'layout'?"),
        ("model: {sampling: {stpes: 3}}", "unknown key 'stpes' in model.sampling"),
        ("dta: {}", "unknown key 'dta'. Did you mean 'data'?"),
        (
            "trainer: {callbacks: [{class_path: motion_ablation.callbacks.VideoCallback, init_args: {limti: 3}}]}",
            "unknown key 'limti' in trainer.callbacks.0.init_args. Did you mean 'limit'? Choices: frames, limit",
        ),
        ("evaluation: {metrics: [fdi]}", "evaluation.metrics: unknown metric 'fdi'"),
        ("evaluation: {metrics+: [fdi]}", "evaluation.metrics: unknown metric 'fdi'"),
        ("evaluation: {metrcs: [fid]}", "unknown key 'metrcs' in evaluation. Did you mean 'metrics'?"),
        ("model: {motion: {qk: {layout: {name: per_fram}}}}", "unknown layout 'per_fram'"),
    ],
)
def test_a_mistake_in_a_file_is_refused(
    text: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], no_weights: None
) -> None:
    (tmp_path / "x.yaml").write_text(text)
    assert message in refused(["fit", "--config", str(tmp_path / "x.yaml")], capsys)


def test_a_mistake_in_a_pretraining_file_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = (ROOT / "experiments/pretrain/vae.yaml").read_text().replace("output:", "outptu:")
    (tmp_path / "vae.yaml").write_text(text)
    message = refused(["fit", "--config", str(tmp_path / "vae.yaml")], capsys)
    assert "unknown key 'outptu' in model.init_args. Did you mean 'output'?" in message


def test_missing_weights_are_one_line(tiny_config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    message = refused(["fit", "--config", str(tiny_config), "--model.backbone.source=cerspense/zeroscope_v2_576w"], capsys)
    assert "hf download cerspense/zeroscope_v2_576w --local-dir" in message


def test_a_frame_size_that_does_not_suit_is_one_line(tiny_config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "multiples of 4" in refused(["fit", "--config", str(tiny_config), "--data.size=18"], capsys)


# Runs.


@pytest.mark.parametrize("path", EXPERIMENTS, ids=lambda path: path.stem)
def test_every_experiment_trains_and_is_scored(path: Path, tiny_config: Path, tmp_path: Path) -> None:
    """Under random noise, unless the experiment is about another: the inversion takes as long as all training here."""
    one_noise = tmp_path / "one_noise.yaml"
    one_noise.write_text("data: {noises: [random]}\n")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        main(["fit", "--config", str(tiny_config), "--config", str(one_noise), "--config", str(path)])
    assert not [w for w in caught if "args parameter is intended" in str(w.message)]
    result = yaml.safe_load((tmp_path / "runs" / "fit" / "result.json").read_text())
    assert result["status"] == "done"
    assert {name.split("/")[1] for name in result["metrics"]} >= {"text_similarity", "motion_fidelity", "temporal_consistency", "fid"}
    trained = tmp_path / "runs" / "fit" / "motion.safetensors"
    if is_plain(path):
        assert result["parameters"]["trainable"] == 0 and not trained.exists()
    else:
        assert sum(p.numel() for p in MotionEmbeddings.load(trained).parameters()) == result["parameters"]["trainable"] > 0
        assert any(tensor.abs().max() > 0 for tensor in read_embedding(trained)[0].values())


def test_predict_writes_videos_of_a_trained_embedding(tiny_config: Path, tmp_path: Path) -> None:
    from PIL import Image

    from motion_ablation.data.video import read_clip

    config = ["--config", str(tiny_config)]
    main(["fit", *config])
    embedding = tmp_path / "motion.safetensors"
    (tmp_path / "runs" / "fit" / "motion.safetensors").rename(embedding)
    prompt = "--data.prompts=['a cyan ring on a red background']"
    main(["predict", *config, prompt, "--data.noises=[random]", "--data.seeds=[0, 7]", f"--model.embedding={embedding}"])
    folder = tmp_path / "runs" / "fit" / "predictions"
    stems = [f"orbit_a-cyan-ring-on-a-red-background_{seed}_random" for seed in (0, 7)]
    assert sorted(path.name for path in folder.iterdir()) == sorted(f"{stem}.{kind}" for stem in stems for kind in ("mp4", "gif"))
    for stem in stems:
        frames, fps = read_clip(folder / f"{stem}.mp4", frames=4, size=16)
        assert frames.shape == (4, 3, 16, 16) and fps == pytest.approx(8)
        assert Image.open(folder / f"{stem}.gif").n_frames > 1  # type: ignore[attr-defined]


PRETRAIN = {
    "vae": ["--model.init_args.channels=[8,16]", "--data.init_args.epoch_length=8", "--data.init_args.batch_size=4",
            "--data.init_args.val_length=8", "--data.init_args.size=16", "--trainer.precision=32-true"],
    "clip": ["--model.init_args.width=16", "--model.init_args.layers=1", "--model.init_args.size=16", "--data.init_args.size=16",
             "--data.init_args.batch_size=4", "--data.init_args.batches=2"],
    "text_to_video": ["--model.init_args.channels=[16,32]", "--model.init_args.latent_channels=4", "--model.init_args.latent_size=8",
                      "--data.init_args.pool=4", "--data.init_args.frames=4", "--data.init_args.size=16",
                      "--data.init_args.curriculum=[[1,1,2,1],[1,4,2,1]]"],
}  # fmt: skip
PRETRAIN["text_to_video_gpu"] = [
    *PRETRAIN["text_to_video"], "--model.init_args.start=null", "--trainer.accelerator=cpu", "--data.init_args.num_workers=1",
]  # fmt: skip


@pytest.mark.parametrize("path", sorted((ROOT / "experiments" / "pretrain").glob("*.yaml")), ids=lambda path: path.stem)
def test_every_pretraining_stage_runs(path: Path, tiny_backbone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    output = tmp_path / "shapes"
    options = [
        *PRETRAIN[path.stem],
        f"--model.init_args.output={output}",
        "--trainer.max_steps=2",
        "--trainer.enable_progress_bar=false",
        "--trainer.devices=1",
    ]
    if path.stem.startswith("text_to_video"):
        options += [f"--data.init_args.vae={tiny_backbone / 'vae'}", f"--data.init_args.cache={tmp_path / 'pool'}"]
        output.mkdir()
    main(["fit", "--config", str(path), *options])
    expected = {
        "vae": ["vae/config.json"],
        "clip": ["config.json", "preprocessor_config.json", "tokenizer_config.json", "model.safetensors"],
        "text_to_video": [
            "unet/config.json",
            "text_encoder/config.json",
            "tokenizer/tokenizer_config.json",
            "scheduler",
            "model_index.json",
        ],
    }
    expected["text_to_video_gpu"] = expected["text_to_video"]
    assert all((output / name).exists() for name in expected[path.stem])
    assert list((tmp_path / "runs" / "pretrain" / path.stem).glob("*.ckpt"))


# A killed run.


def final_state(folder: Path) -> dict[str, Any]:
    (path,) = folder.glob("checkpoints/last.ckpt")
    return torch.load(path, weights_only=True)


def test_what_the_last_step_left_is_validated(tiny_settings: dict[str, Any], tmp_path: Path) -> None:
    tiny_settings["trainer"].update(max_steps=3, check_val_every_n_epoch=2)
    tiny_settings["data"]["steps_per_epoch"] = 2
    config = tmp_path / "odd.yaml"
    config.write_text(yaml.safe_dump(tiny_settings))
    main(["fit", "--config", str(config)])
    (result,) = (tmp_path / "runs").rglob("result.json")
    assert json.loads(result.read_text())["steps"] == 3
    assert list((tmp_path / "runs").rglob("videos/*.gif"))


def test_a_killed_fit_resumes_to_the_same_end(tiny_settings: dict[str, Any], tmp_path: Path) -> None:
    tiny_settings["trainer"].update(max_steps=1_000_000, check_val_every_n_epoch=1_000_000)
    keep = ("EmbeddingCallback", "ModelCheckpoint")
    callbacks = yaml.safe_load((ROOT / "motion_ablation" / "configure" / "defaults.yaml").read_text())["trainer"]["callbacks"]
    tiny_settings["trainer"]["callbacks"] = [c for c in callbacks if c["class_path"].endswith(keep)]
    config = tmp_path / "killed.yaml"
    config.write_text(yaml.safe_dump(tiny_settings))

    def arguments(name: str) -> list[str]:
        return ["fit", "--config", str(config), "--trainer.logger.init_args.name", name]

    last = tmp_path / "runs" / "killed" / "checkpoints" / "last.ckpt"
    command = [sys.executable, "-m", "motion_ablation.cli.lightning", *arguments("killed")]
    with (tmp_path / "stderr").open("wb") as errors:
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=errors, cwd=tmp_path)
        try:
            deadline = time.monotonic() + 240
            while not last.exists() and process.poll() is None and time.monotonic() < deadline:
                time.sleep(0.02)
            assert process.poll() is None, (tmp_path / "stderr").read_text()
        finally:
            process.kill()
            process.wait()
    assert process.returncode == -signal.SIGKILL
    reached = torch.load(last, weights_only=True)["global_step"]
    assert reached > 0

    end = ["--trainer.max_steps", str(reached + 6)]
    main([*arguments("killed"), *end, "--ckpt_path", str(last)])
    main([*arguments("whole"), *end])
    resumed, whole = (final_state(tmp_path / "runs" / name) for name in ("killed", "whole"))
    assert resumed["global_step"] == whole["global_step"] == reached + 6
    assert resumed["state_dict"].keys() == whole["state_dict"].keys()
    for name, value in whole["state_dict"].items():
        torch.testing.assert_close(resumed["state_dict"][name], value, atol=1e-6, rtol=1e-5)
    assert any(value.abs().max() > 0 for value in whole["state_dict"].values())


def test_motion_ablation_is_the_other_name(capsys: pytest.CaptureFixture[str], no_weights: None) -> None:
    """``lightning`` may one day be a command of Lightning's own."""
    from motion_ablation.cli.studies import main as other

    printed = []
    for command in (main, other):
        with pytest.raises(SystemExit) as stopped:
            command(["fit", "--config", str(ROOT / "experiments" / "mqk_partial.yaml"), "--print_config"])
        assert stopped.value.code == 0
        printed.append(capsys.readouterr().out)
    assert printed[0] == printed[1] and "coarse_grid" in printed[0]


def test_the_newest_checkpoint_is_found_or_the_option_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Every run has a folder of its own, so that the last checkpoint is never in the new run's."""
    where = ["--trainer.logger.init_args.save_dir", str(tmp_path / "runs")]
    for form in (["--ckpt_path", "last"], ["--ckpt_path=last"]):
        assert "no last.ckpt beneath" in refused(["fit", *where, *form], capsys)
    for version in (0, 1):
        folder = tmp_path / "runs" / "fit" / f"version_{version}" / "checkpoints"
        folder.mkdir(parents=True)
        (folder / "last.ckpt").touch()
        os.utime(folder / "last.ckpt", (version, version))
    newest = str(tmp_path / "runs" / "fit" / "version_1" / "checkpoints" / "last.ckpt")
    found = last_checkpoint(["fit", *where, "--ckpt_path", "last"])
    assert found == ["fit", *where, f"--ckpt_path={newest}"] and newest in capsys.readouterr().err
    given = ["fit", "--ckpt_path", newest]
    assert last_checkpoint(given) == given


def test_home_is_spelled_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    assert [at_home(each) for each in ("--model.cache=~/cache", "~/a.yaml", "--x=a~b", "fit")] == [
        "--model.cache=/home/me/cache", "/home/me/a.yaml", "--x=a~b", "fit"
    ]  # fmt: skip


def test_too_little_memory_is_one_line_with_its_mend(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def full(arguments: list[str]) -> None:
        raise RuntimeError("[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes")

    monkeypatch.setattr(lightning, "make_cli", full)
    line = refused(["fit"], capsys)
    assert "out of memory" in line and "lower data.val_batch_size, data.size or data.frames" in line


@pytest.mark.parametrize(("frames", "metric"), [(1, "2"), (2, "motion_smoothness, which needs 3")])
def test_clips_too_short_for_a_metric_are_refused_before_training(
    frames: int, metric: str, capsys: pytest.CaptureFixture[str], no_weights: None
) -> None:
    line = refused(["fit", f"--data.frames={frames}"], capsys)
    assert f"data.frames {frames} is too few for" in line and metric in line
