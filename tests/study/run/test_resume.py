"""What a study computes again and what it does not: after edits, damage, failures and kills."""

from __future__ import annotations

import errno
import json
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from motion_ablation.backbones.unet3d import UNet3DBackbone
from motion_ablation.cache.addresses import training_recipe
from motion_ablation.cli.studies import main
from motion_ablation.configure.parse import resolve
from motion_ablation.metrics import TextSimilarity
from motion_ablation.motion import MotionEmbeddings
from motion_ablation.study.plan.cards import read_card
from motion_ablation.study.plan.planning import Options, make_study
from motion_ablation.study.plan.study import Study
from motion_ablation.study.run.clean import find_studies, find_waste, remove
from motion_ablation.study.run.failures import reason_of
from motion_ablation.study.run.quiet import quiet
from motion_ablation.study.run.runner import in_best_order, run_study
from motion_ablation.study.run.status import describe_status

Settings = dict[str, Any]


class Passes:
    """Counts passes through the denoiser: training, inversion and generation all need them; scoring needs none."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count = 0
        denoise = UNet3DBackbone.denoise

        def counted(*args: Any) -> Any:
            self.count += 1
            return denoise(*args)

        monkeypatch.setattr(UNet3DBackbone, "denoise", counted)

    def during(self, work: Callable[[], Any]) -> int:
        before = self.count
        work()
        return self.count - before


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> Passes:
    return Passes(monkeypatch)


def settings_in(folder: Path, quick_config: Path, metrics: tuple[str, ...] = ("text_similarity", "fid")) -> Settings:
    """The quick configuration with a cache of its own, one prompt, and only these metrics."""
    settings: Settings = yaml.safe_load(quick_config.read_text())
    settings["model"]["cache"] = str(folder / "cache")
    settings["data"].update(prompts=settings["data"]["prompts"][:1], seeds=[0, 1])
    settings["trainer"]["max_steps"] = 2
    settings["evaluation"]["metrics"] = list(metrics)
    return settings


def plan(folder: Path, card: Path, settings: Settings, output: str = "study", **options: Any) -> Study:
    (folder / "own.yaml").write_text(yaml.safe_dump(settings))
    with quiet():
        return make_study([read_card(card)], folder / output, Options(configs=[str(folder / "own.yaml")], **options))


def results(study: Study) -> dict[str, dict[str, Any]]:
    return {run.name: result for run in study.runs if (result := run.result()) is not None}


def scores(study: Study) -> dict[str, Any]:
    return {name: (result["metrics"], result["cells"], result["steps"]) for name, result in results(study).items()}


@pytest.fixture(scope="module")
def card(lab: Path, card_maker: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A card with the baseline and one replacement, in a folder of its own."""
    folder = tmp_path_factory.mktemp("pair") / "experiments"
    shutil.copytree(lab, folder)
    path: Path = card_maker(folder, "pair", ["mqk_spatial"], metrics=["text_similarity", "fid"])
    return path


@pytest.fixture(scope="module")
def template(card: Path, quick_config: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one finished study and its cache."""
    folder = tmp_path_factory.mktemp("finished")
    assert run_study(plan(folder, card, settings_in(folder, quick_config)), 1)
    return folder


@pytest.fixture
def folder(template: Path, tmp_path: Path) -> Path:
    """A copy of :func:`template` to spoil."""
    shutil.copytree(template, tmp_path, dirs_exist_ok=True)
    return tmp_path


# What an edit touches.


def test_another_metric_scores_the_kept_videos(
    folder: Path, card: Path, quick_config: Path, passes: Passes, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = plan(folder, card, settings_in(folder, quick_config))
    more = plan(folder, card, settings_in(folder, quick_config, ("text_similarity", "fid", "temporal_consistency")))
    assert not any(run.finished for run in more.runs) and all(run.finished for run in before.runs)
    known = scores(before)
    monkeypatch.setattr(TextSimilarity, "score", None)  # whoever called it would fail: its scores are kept too
    assert passes.during(lambda: run_study(more, 1)) == 0, "nothing was trained, inverted or generated"
    for name, (metrics, cells, steps) in scores(more).items():
        assert {key: metrics[key] for key in known[name][0]} == known[name][0], "bit for bit"
        assert [{key: row[key] for key in old} for row, old in zip(cells, known[name][1], strict=True)] == known[name][1]
        assert all("temporal_consistency" in row for row in cells) and steps == known[name][2]


def test_a_training_that_is_taken_over_is_told_as_it_was(folder: Path, card: Path, quick_config: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    def curves(run: Path) -> dict[str, list[tuple[int, float]]]:
        events = EventAccumulator(str(run)).Reload()
        return {tag: [(event.step, event.value) for event in events.Scalars(tag)] for tag in ("train/loss", "val/random/fid")}

    first = plan(folder, card, settings_in(folder, quick_config)).run_of("mqk_spatial", "orbit")
    second = plan(folder, card, settings_in(folder, quick_config), "again")
    assert run_study(second, 1)
    run = second.run_of("mqk_spatial", "orbit")
    assert curves(run.folder) == curves(first.folder) and len(curves(run.folder)["train/loss"]) == 2
    assert {step for step, _ in curves(run.folder)["val/random/fid"]} == {2}, "scores are logged at the end of the training"
    one, two = first.result(), run.result()
    for result in (one, two):
        assert result and list(zip(result["loss"]["steps"], result["loss"]["values"], strict=True)) == curves(run.folder)["train/loss"]
    assert one and two and (one["train_seconds"], one["steps"]) == (two["train_seconds"], two["steps"]) and two["steps"] == 2
    saved = [MotionEmbeddings.load(each.folder / "motion.safetensors").state_dict() for each in (first, run)]
    assert all(torch.equal(saved[0][name], saved[1][name]) for name in saved[0])


@pytest.mark.parametrize(
    ("step", "again"),
    [
        ("score", "scores"),
        ("video", "videos"),
        ("embedding", "embeddings"),
        pytest.param("latents", "latents", marks=pytest.mark.slow),
    ],
)
def test_edited_code_runs_its_own_step_again(
    folder: Path, card: Path, quick_config: Path, passes: Passes, monkeypatch: pytest.MonkeyPatch, step: str, again: str
) -> None:
    from motion_ablation.cache import addresses
    from motion_ablation.cache import code as steps

    known = scores(plan(folder, card, settings_in(folder, quick_config)))
    kept = {path for path in (folder / "cache").glob("*/*.safetensors")}

    def code_of(name: str, *entries: Any) -> str:
        return steps.code_of(name, *entries) + ("edited" if name in (step, "result") else "")

    monkeypatch.setattr(addresses, "code_of", code_of)
    study = plan(folder, card, settings_in(folder, quick_config))
    spent = passes.during(lambda: run_study(study, 1))
    new = {path.parent.name for path in (folder / "cache").glob("*/*.safetensors") if path not in kept}
    assert scores(study) == known, "the code is the same in truth, and so are the scores, bit for bit"
    assert (spent == 0) == (step == "score")
    assert again in new
    assert step in ("embedding", "latents") or "embeddings" not in new, "nothing was trained"


def test_studies_share_what_they_have_in_common(folder: Path, card: Path, quick_config: Path, card_maker: Any, passes: Passes) -> None:
    first = plan(folder, card, settings_in(folder, quick_config))
    other = card_maker(card.parent.parent, "other", ["integration_add"], metrics=["text_similarity", "fid"])
    second = plan(folder, other, settings_in(folder, quick_config), "second")
    assert passes.during(lambda: run_study(second, 1)) == 0
    assert scores(second)["baseline/orbit"] == scores(first)["baseline/orbit"]
    wider = settings_in(folder, quick_config)
    wider["data"]["seeds"] = [0, 1, 2]
    third = plan(folder, other, wider, "third")
    spent = passes.during(lambda: run_study(third, 1))
    # Seed 2 alone, in each noise of each run; 2 sampling steps with both guidance branches in one pass. The inversion is kept.
    assert spent == 2 * len(third.runs) * 2
    old = {(row["seed"], row["noise"]): row["text_similarity"] for row in results(first)["baseline/orbit"]["cells"]}
    new = {(row["seed"], row["noise"]): row["text_similarity"] for row in results(third)["baseline/orbit"]["cells"]}
    assert len(new) == 6 and all(new[cell] == pytest.approx(score, abs=1e-6) for cell, score in old.items())


def test_the_plain_backbone_has_noise_of_its_own_on_each_reference(card: Path, quick_config: Path, tmp_path: Path, passes: Passes) -> None:
    settings = settings_in(tmp_path, quick_config)
    settings["data"].update(noises=["random"], seeds=[0])
    study = plan(tmp_path, card, settings, references=["builtin:orbit", "builtin:slide"])
    study.runs[:] = [run for run in study.runs if run.experiment == "no_motion"]
    assert passes.during(lambda: run_study(study, 1)) == 4, (
        "two sampling steps for each: what the noise does must be averaged over references"
    )


def test_a_callback_that_may_change_training_is_part_of_the_address() -> None:
    config = resolve([])
    known = training_recipe(config, "weights")
    config["trainer"]["callbacks"].append({"class_path": "lightning.pytorch.callbacks.ModelCheckpoint", "init_args": {"save_top_k": 2}})
    assert training_recipe(config, "weights") == known
    config["trainer"]["callbacks"].append({"class_path": "lightning.pytorch.callbacks.StochasticWeightAveraging", "init_args": {}})
    assert training_recipe(config, "weights") != known


@pytest.mark.parametrize(
    "kind", ["embeddings", "videos", *(pytest.param(kind, marks=pytest.mark.slow) for kind in ("latents", "inverted"))]
)
def test_a_flipped_bit_is_noticed_and_mended(folder: Path, card: Path, quick_config: Path, kind: str) -> None:
    known = scores(plan(folder, card, settings_in(folder, quick_config)))
    damaged = sorted((folder / "cache" / kind).glob("*.safetensors"))[0]
    content = bytearray(damaged.read_bytes())
    content[-1] ^= 1
    damaged.write_bytes(content)
    if kind == "inverted":  # else the kept videos would do without it
        shutil.rmtree(folder / "cache" / "videos")
    study = plan(folder, card, settings_in(folder, quick_config), "again")
    assert run_study(study, 1)
    if kind == "videos":  # it was made again without the other cell of its batch: the same but for roundings
        for name, (metrics, _, _) in scores(study).items():
            assert metrics == pytest.approx(known[name][0], abs=1e-4)
    else:
        assert scores(study) == known, "bit for bit"
    assert any("is damaged" in (run.folder / "log.txt").read_text() for run in study.runs), "a warning says so"
    assert damaged.read_bytes() != bytes(content)


# Training seeds.


def test_training_seeds_are_runs_of_their_own(card: Path, quick_config: Path, tmp_path: Path) -> None:
    settings = settings_in(tmp_path, quick_config)
    settings["data"].update(noises=["random"], seeds=[0])
    study = plan(tmp_path, card, settings, train_seeds=[3, 4])
    names = [run.name for run in study.runs]
    assert names == ["no_motion/orbit", *(f"{name}/orbit-s{seed}" for name in ("baseline", "mqk_spatial") for seed in (3, 4))]
    study.runs[:] = [run for run in study.runs if run.experiment != "mqk_spatial"]
    assert run_study(study, 1)
    loaded = Study.load(tmp_path / "study")
    assert loaded.train_seeds == [3, 4] and [run.folder for run in loaded.runs] == [run.folder for run in study.runs]
    assert loaded.run_of("baseline", "orbit", 4).name == "baseline/orbit-s4"
    assert loaded.run_of("baseline", "orbit").train_seed == 3
    assert loaded.run_of("no_motion", "orbit", 4).name == "no_motion/orbit", "what learns nothing has one run for all seeds"
    found = results(study)
    assert [found[f"baseline/orbit-s{seed}"]["train_seed"] for seed in (3, 4)] == [3, 4]
    weights = [MotionEmbeddings.load(tmp_path / f"study/baseline/orbit-s{seed}/motion.safetensors").state_dict() for seed in (3, 4)]
    assert any(not torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    alone = plan(tmp_path, card, settings, "alone", train_seeds=[4])
    assert alone.run_of("baseline", "orbit").name == "baseline/orbit", "one seed changes no names"
    assert alone.run_of("baseline", "orbit").embedding == study.run_of("baseline", "orbit", 4).embedding
    assert plan(tmp_path, card, settings, "own").train_seeds == [0], "the configuration's"


def test_shown_references_run_beside_those_that_count(card: Path, quick_config: Path, tmp_path: Path) -> None:
    settings = settings_in(tmp_path, quick_config)
    study = plan(tmp_path, card, settings, references=["builtin:orbit"], shown=["builtin:slide"])
    assert study.references == ["orbit", "slide"] and study.judged == ["orbit"]
    assert {run.reference for run in study.runs_of("baseline")} == {"orbit", "slide"}
    alone = plan(tmp_path, card, settings, "alone", references=["builtin:orbit"])
    assert alone.run_of("baseline", "orbit").recipe == study.run_of("baseline", "orbit").recipe, "what counts is not changed"


@pytest.mark.parametrize("seeds", [[1, 1], [-1]])
def test_training_seeds_that_cannot_be_are_refused(card: Path, quick_config: Path, tmp_path: Path, seeds: list[int]) -> None:
    with pytest.raises(ValueError, match="training seeds must be different numbers from 0"):
        plan(tmp_path, card, settings_in(tmp_path, quick_config), train_seeds=seeds)


# Status and clean.


def test_status_tells_every_state(folder: Path, card: Path, quick_config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    study = folder / "study"
    main(["status", str(study)])
    assert "3 runs: 3 done" in capsys.readouterr().out
    settings = settings_in(folder, quick_config)
    settings["data"]["seeds"] = [5]
    (folder / "changed.yaml").write_text(yaml.safe_dump(settings))
    with pytest.raises(SystemExit, match="1"):
        main(["status", str(card), "--config", str(folder / "changed.yaml"), "--output", str(study)])
    assert "3 runs: 3 stale" in capsys.readouterr().out
    (study / "baseline/orbit/result.json").unlink()
    path = study / "no_motion/orbit/result.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "status": "failed", "reason": "because"}))
    shutil.rmtree(study / "mqk_spatial")
    text, complete = describe_status([Study.load(study)])
    assert not complete and "1 failed, 2 missing" in text
    lines = {line.split()[1]: line.split(maxsplit=2)[::2] for line in text.splitlines() if line.startswith("  ")}
    assert lines["no_motion/orbit"] == ["failed", "because"]
    assert lines["baseline/orbit"] == ["missing", "was cut off"] and lines["mqk_spatial/orbit"] == ["missing"]
    from motion_ablation.study.run.runner import locked

    with locked(study):
        text, _ = describe_status([Study.load(study)])
        assert "(being run now): 3 runs: 1 running, 1 failed, 1 missing" in text and "  running  baseline/orbit" in text


def test_clean_removes_what_no_study_needs_and_nothing_else(
    folder: Path, card: Path, quick_config: Path, passes: Passes, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(folder)
    (folder / "results").mkdir()
    (folder / "study").rename(folder / "results" / "first")
    settings = settings_in(folder, quick_config)
    settings["data"]["seeds"] = [7]
    settings["model"]["optimizer"] = {"lr": 0.01}
    assert run_study(plan(folder, card, settings, "second"), 1)
    everything = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    main(["clean", str(folder / "second"), "--dry-run"])
    assert "would remove 0 files" in capsys.readouterr().out, "a named study counts with those in results/"
    main(["clean", "--dry-run"])
    told = capsys.readouterr().out
    assert "embeddings: 2 files" in told and "videos: 6 files" in told and "scores: 6 files" in told and "latents" not in told
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == everything
    main(["clean"])
    assert "removed 14 files" in capsys.readouterr().out
    gone = everything.keys() - {path for path in folder.rglob("*") if path.is_file()}
    assert {path.parent.name for path in gone} == {"embeddings", "videos", "scores"}
    assert not find_waste(Path("cache"), find_studies(["results"])).files
    again = plan(folder, card, settings_in(folder, quick_config), "third")
    assert passes.during(lambda: run_study(again, 1)) == 0, "what the first study is made of is still there"
    with pytest.raises(SystemExit, match="2"):
        main(["clean", "nowhere"])


def test_clean_leaves_a_half_written_file_to_its_writer(folder: Path) -> None:
    import os
    import time

    part = folder / "cache" / "videos" / f"{'a' * 16}.0123abcd.part"
    part.write_bytes(b"half")
    assert part not in dict(find_waste(folder / "cache", [folder / "study"]).files)
    os.utime(part, (time.time() - 10_000,) * 2)
    waste = find_waste(folder / "cache", [folder / "study"])
    assert [path for path, _ in waste.files] == [part]
    remove(waste)
    assert not part.exists()


# Failures are of one run.


def failing(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    """The backbone fails in generating for every embedding of more than one stream's spatial layout: the replacement's alone."""
    generate = UNet3DBackbone.generate

    def failing(self: Any, noise: Any, *args: Any) -> Any:
        frame = sys._getframe(1)
        streams = frame.f_locals["self"].motion.config.streams()
        if streams and streams["qk"].layout["name"] != "per_frame":
            raise error
        return generate(self, noise, *args)

    monkeypatch.setattr(UNet3DBackbone, "generate", failing)


def test_a_failure_is_of_its_own_run_and_the_others_finish(
    card: Path, quick_config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing(monkeypatch, torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB."))
    settings = settings_in(tmp_path, quick_config)
    settings["data"].update(noises=["random"], seeds=[0])
    study = plan(tmp_path, card, settings)
    assert not run_study(study, 1)
    found = results(study)
    assert {name: result["status"] for name, result in found.items() if result["status"] != "done"} == {"mqk_spatial/orbit": "failed"}
    reason = found["mqk_spatial/orbit"]["reason"]
    assert reason.startswith("out of memory (OutOfMemoryError: CUDA out of memory") and "\n" not in reason
    monkeypatch.undo()
    counted = Passes(monkeypatch)
    again = plan(tmp_path, card, settings)
    assert counted.during(lambda: run_study(again, 1)) == 2, "it is tried again, with its embedding as it was trained"
    assert all(run.finished for run in again.runs)


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (torch.OutOfMemoryError("CUDA out of memory."), "out of memory (OutOfMemoryError: CUDA out of memory.); lower data.val_batch_size"),
        (MemoryError(), "out of memory (MemoryError); lower data.val_batch_size"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), "out of memory (RuntimeError: DefaultCPUAllocator"),
        (OSError(errno.ENOSPC, "No space left on device"), "the disk is full (OSError: [Errno 28] No space left on device); free some"),
        (FloatingPointError("the loss is nan"), "FloatingPointError: the loss is nan"),
    ],
)
def test_reasons_name_the_cause_and_the_mend(error: Exception, told: str) -> None:
    assert reason_of(error).startswith(told)


def test_a_disk_that_fills_up_fails_the_runs_that_do_not_fit(card: Path, quick_config: Path, tmp_path: Path) -> None:
    """A limit on the size of files stands for it: the replacement's embedding is larger than the baseline's."""
    settings = settings_in(tmp_path, quick_config)
    settings["data"].update(noises=["random"], seeds=[0])
    study = plan(tmp_path, card, settings)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (190_000, limits[1]))
        assert not run_study(study, 1)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    found = results(study)
    assert [name for name, result in found.items() if result["status"] == "failed"] == ["mqk_spatial/orbit"]
    assert "File too large" in found["mqk_spatial/orbit"]["reason"] and "free some space" in found["mqk_spatial/orbit"]["reason"]


def test_videos_that_are_not_finite_are_a_failure(card: Path, quick_config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    decode = UNet3DBackbone.decode
    monkeypatch.setattr(UNet3DBackbone, "decode", lambda self, latents: decode(self, latents) * float("nan"))
    study = plan(tmp_path, card, settings_in(tmp_path, quick_config))
    study.runs[:] = study.runs[:1]
    assert not run_study(study, 1)
    assert "FloatingPointError: a generated video is not finite" in results(study)["no_motion/orbit"]["reason"]


# One backbone per process.


def test_a_process_changes_its_backbone_as_seldom_as_can_be(folder: Path) -> None:
    one, two, three = Study.load(folder / "study").runs
    runs = [
        replace(run, backbone=backbone, embedding=run.embedding and f"{run.embedding}{backbone}", folder=Path(run.experiment, backbone))
        for run in (one, two, three)
        for backbone in ("a", "b")
    ]
    ordered = in_best_order(runs)
    assert [run.backbone for run in ordered] == ["a"] * 3 + ["b"] * 3
    assert [run.trains for run in ordered] == [True, True, False] * 2


def test_a_backbone_is_loaded_once_for_all_runs(card: Path, quick_config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from motion_ablation.backbones import load

    load._load.cache_clear()
    settings = settings_in(tmp_path, quick_config)
    settings["data"].update(noises=["random"], seeds=[0])
    assert run_study(plan(tmp_path, card, settings), 1)
    assert load._load.cache_info().misses == 1


# Kills.

KILLER = """
import os, signal, sys
left, replace, unlink = int(sys.argv[1]), os.replace, os.unlink

def counted(*args, **kwargs):
    global left
    left -= 1
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return replace(*args, **kwargs)

os.replace = counted
from pathlib import Path
from motion_ablation.study.plan.cards import read_card
from motion_ablation.study.plan.planning import Options, make_study
from motion_ablation.study.run.runner import run_study
folder = Path(sys.argv[2])
run_study(make_study([read_card(sys.argv[3])], folder / "study", Options(configs=[str(folder / "own.yaml")])), 1)
"""


def _kill_and_go_on(template: Path, card: Path, quick_config: Path, tmp_path: Path, moments: tuple[int, ...]) -> None:
    """Kills the study just before its n-th file comes into place, for each n, and lets it end."""
    whole = scores(plan(template, card, settings_in(template, quick_config)))
    study = plan(tmp_path, card, settings_in(tmp_path, quick_config))
    seen = []
    for moment in (*moments, 0):
        process = subprocess.run([sys.executable, "-c", KILLER, str(moment), str(tmp_path), str(card)], check=False)
        assert process.returncode == (-signal.SIGKILL if moment else 0)
        kinds = ("latents", "embeddings", "inverted", "videos")
        seen.append({kind: len(list((tmp_path / "cache" / kind).glob("*.safetensors"))) for kind in kinds})
        assert moment == 0 or not all(run.finished for run in study.runs)
    assert scores(study) == whole, "as if it had never been killed"
    assert len({json.dumps(each) for each in seen}) > 1 + len(moments) // 2, "the kills were at different places"


def test_a_kill_while_writing_changes_nothing(template: Path, card: Path, quick_config: Path, tmp_path: Path) -> None:
    _kill_and_go_on(template, card, quick_config, tmp_path, (8,))


@pytest.mark.slow
def test_kills_at_many_moments_change_nothing(template: Path, card: Path, quick_config: Path, tmp_path: Path) -> None:
    _kill_and_go_on(template, card, quick_config, tmp_path, (2, 3, 4, 5, 6, 7, 9, 11, 14, 18))
