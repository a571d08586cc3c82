"""The benchmark compares what it says it compares; nothing here depends on how fast anything is."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks import speed, studies, timing, variants  # noqa: E402
from benchmarks.peak import measure, tensor_peak  # noqa: E402
from benchmarks.scaling import frames_rows, prompts_rows  # noqa: E402
from benchmarks.steps import check_equal, compare_steps, loop_rounds  # noqa: E402
from benchmarks.variants import Bare, Explicit, Ours, Scene, World, difference, make_world  # noqa: E402


@pytest.fixture(scope="module")
def scene(tiny_backbone: Path, tmp_path_factory: pytest.TempPathFactory) -> Scene:
    return Scene(str(tmp_path_factory.mktemp("benchmark")), str(tiny_backbone), frames=4, size=(16, 16))


@pytest.fixture
def world(scene: Scene) -> World:
    return make_world(scene)


# Timing.


def test_a_ratio_is_the_median_over_rounds_with_an_interval_around_it() -> None:
    found = timing.ratio([2.0, 4.0, 6.6, 8.0, 10.0], [1.0, 2.0, 3.0, 4.0, 5.0])
    assert found.median == 2.0 and found.rounds == 5
    assert found.low == 2.0 and 2.0 < found.high <= 2.2
    assert timing.ratio([3.0], [2.0]) == timing.Ratio(1.5, 1.5, 1.5, 1)
    with pytest.raises(ValueError, match="as many rounds"):
        timing.ratio([1.0], [1.0, 2.0])


def test_the_interval_covers_the_true_ratio_of_noisy_rounds() -> None:
    generator = torch.Generator().manual_seed(0)
    covered = 0
    for number in range(100):
        drift = torch.rand(24, generator=generator) + 0.5  # by which a round is slower, for both
        over, under = (drift * (1 + 0.1 * torch.randn(24, generator=generator)) for _ in range(2))
        found = timing.ratio((1.2 * over).tolist(), under.tolist(), seed=number)
        covered += found.low <= 1.2 <= found.high
    assert covered >= 85


def test_variants_take_turns_and_each_begins_a_round() -> None:
    order: list[str] = []
    times = timing.interleave({name: lambda name=name: order.append(name) for name in "abc"}, rounds=3, warmup=1)
    assert order == list("cababcbcacab")
    assert all(len(t.wall) == len(t.cpu) == 3 for t in times.values())


def test_the_table_marks_targets() -> None:
    rows = [timing.Row("a", name, timing.Ratio(value, value, value, 1), 1.05) for name, value in (("good", 1.0), ("bad", 1.1))]
    text = timing.table(rows)
    assert "| a | good | 1.000 | one round | 1 | met (≤ 1.05) |" in text
    assert "missed (≤ 1.05)" in text.splitlines()[-1]
    assert json.dumps(timing.plain(rows))


# Variants.


def test_the_explicit_implementation_is_the_same_model(world: World, scene: Scene) -> None:
    assert max(check_equal(world, scene).values()) < 1e-4
    assert all(parameter.abs().max() == 0 for parameter in world.module.embeddings.parameters()), "left as they were"


def test_another_model_is_noticed(world: World, scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    right = variants.explicit_attention
    wrong = lambda layer, features, m_qk, m_v: right(layer, features, m_qk, m_v + m_qk)  # noqa: E731
    monkeypatch.setattr(variants, "explicit_attention", wrong)
    with pytest.raises(AssertionError, match="differ by more than"):
        check_equal(world, scene)


def test_the_bare_backbone_has_the_same_parameters_at_the_same_sites(world: World) -> None:
    ours, bare = Ours(world), Bare(world)
    assert sorted(p.shape for p in ours.parameters) == sorted(p.shape for p in bare.parameters)
    bare.train()
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in bare.parameters), "the gradient reaches all of them"
    assert not any(p.requires_grad for p in bare.backbone.parameters())
    plain = world.module.backbone.denoise(world.noisy, world.timestep, world.ready.caption)
    for parameter in bare.parameters:
        parameter.data.zero_()
    torch.testing.assert_close(bare.predict(), plain)


@pytest.mark.parametrize("kind", [Ours, Bare, Explicit])
def test_every_variant_learns_and_generates(world: World, kind: Any) -> None:
    variant = kind(world)
    variant.train()
    assert any(parameter.abs().max() > 0 for parameter in variant.parameters)
    latents = variant.generate(2, 1)
    assert latents.shape == (2, *world.noisy.shape[1:]) and latents.isfinite().all()


def test_equal_embeddings_stay_equal_over_other_batches(world: World) -> None:
    assert difference(world, steps=3)["generated"] < 1e-4


def test_all_rows_of_a_and_b(scene: Scene) -> None:
    rows = compare_steps(scene, 2, say=lambda _: None)
    assert [row.part for row in rows] == ["a", "a", "a", "b", "b"]
    assert all(math.isfinite(row.ratio.median) and row.ratio.median > 0 for row in rows)


def test_iterations_of_the_loop_alternate_with_bare_steps(world: World, scene: Scene) -> None:
    times = loop_rounds(world, Bare(world), 3, scene)
    assert len(times["ours"].wall) == len(times["bare"].wall) == 3
    assert world.module._trainer is None


# Memory.


def test_peak_of_tensors_is_exact() -> None:
    def run() -> None:
        kept = torch.empty(1000)
        freed = torch.empty(5000)
        del freed
        assert len(torch.empty(2000)) > len(kept)

    assert tensor_peak(run) == 4 * 6000


def test_peak_of_the_process_sees_what_was_touched() -> None:
    # In a process of its own: this one may hold on to memory that other tests have freed, which is then touched without growing.
    code = "import torch; from benchmarks.peak import process_peak; print(process_peak(lambda: torch.ones(30_000_000).sum()))"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=Path(__file__).parents[1]).stdout
    assert told.strip() == "None" or 100e6 < int(told) < 300e6


@pytest.mark.slow
def test_memory_is_measured_in_a_process_of_its_own(scene: Scene) -> None:
    found = measure("train", "ours", scene, 1)
    assert found["tensors"] and found["tensors"] > 10_000


# Growth.


def test_rows_of_frames_and_prompts(scene: Scene) -> None:
    rows = frames_rows(scene, 2, (2, 4), lambda _: None) + prompts_rows(scene, 2, (1, 2), lambda _: None)
    assert [row.name for row in rows] == [
        "training step, 4 over 2 frames", "sampling step, 4 over 2 frames", "training step, tensors, 4 over 2 frames",
        "generation, batch of 2 prompts over 1", "generation, 2 prompts in a batch over one by one",
    ]  # fmt: skip
    assert rows[2].ratio.median > 1.2


# Studies.


def test_runs_are_dealt_to_the_first_free_worker() -> None:
    assert studies.schedule([3, 2, 2, 1], 1) == 8
    assert studies.schedule([3, 2, 2, 1], 2) == 4
    assert studies.schedule([3, 3, 3], 2) == 6


def record(pid: int, began: float, ended: float, train: list[float], videos: list[float]) -> dict[str, Any]:
    return {"pid": pid, "began": began, "ended": ended, "train": train, "videos": videos, "name": ""}


def test_the_model_reproduces_the_reduced_study_and_scales_its_parts() -> None:
    runs = [record(1, 10, 20, [9.0, 9.0, 0.1, 0.1], [2.0, 3.0]), record(1, 21, 30, [], [2.0, 2.0]), record(2, 10, 31, [0.2] * 4, [1.0])]
    whole, modelled = studies.extrapolate(studies.Process(40.0, 0.0, 0, runs), 2, 1)
    assert modelled == pytest.approx(40.0)
    times = studies.FULL_SAMPLING / studies.SAMPLING - 1
    more = studies.FULL_STEPS - studies.STEPS
    assert studies.longer(runs[0]) == pytest.approx(more * 0.1 + 2 * 2.0 * times)
    assert studies.longer(runs[1]) == pytest.approx(2 * 2.0 * times)
    lanes = [11 + studies.longer(runs[0]) + 10 + studies.longer(runs[1]), 22 + studies.longer(runs[2])]
    assert whole == pytest.approx(40 - 21 + max(lanes) - 1)


@pytest.fixture
def tiny(tiny_settings: dict[str, Any]) -> Iterator[studies.Size]:
    model, data = (tiny_settings[section] for section in ("model", "data"))
    extra = {
        "model.backbone": model["backbone"], "model.sampling.inversion_steps": 2, "data.frames": 4, "data.size": 16,
        "data.prompts": data["prompts"], "data.seeds": [0], "trainer.accelerator": "cpu", "evaluation": tiny_settings["evaluation"],
        "trainer.log_every_n_steps": 1,
    }  # fmt: skip
    yield studies.Size(2, 2, ("builtin:orbit",), tuple(extra.items()))


@pytest.mark.slow
def test_a_study_and_its_experiments_alone(tiny: studies.Size, tmp_path: Path) -> None:
    card = ROOT / "experiments" / "studies" / "mqk_partial.yaml"
    rows = studies.compare_study(tmp_path, False, lambda _: None, tiny, [card])
    assert [row.part for row in rows] == ["c", "c", "e"]
    raw = rows[0].raw
    assert raw["study"]["runs"] == len(raw["alone"]) == len(studies.experiments_of([card]))
    assert rows[0].ratio.median == pytest.approx(raw["study"]["seconds"] / sum(p["seconds"] for p in raw["alone"].values()))
    assert (tmp_path / "together" / "study" / "table.md").exists()


@pytest.mark.slow
def test_growth_of_a_study(tiny: studies.Size, tmp_path: Path) -> None:
    rows = studies.growth_rows(tmp_path, lambda _: None, tiny)
    assert [row.part for row in rows] == ["d"] * len(studies.GROWTH)


@pytest.mark.slow
def test_a_command_that_fails_says_why(tiny: studies.Size, tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="no-such-clip"):
        studies.alone(ROOT / "experiments" / "baseline.yaml", studies.Size(references=("no-such-clip.mp4",)), tmp_path / "failing")


# The command.


def test_a_busy_machine_is_refused(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    busy = {"idle": False, "load": 9.0, "busy_percent": 100.0}
    monkeypatch.setattr(speed, "machine", lambda device: busy)
    assert speed.main(["--only", "a"]) == 2
    assert "--busy" in capsys.readouterr().err


def test_the_whole_report(scene: Scene, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "speed"
    size = [str(n) for n in scene.size]
    chosen = ["--only", "b", "--busy", "--rounds", "2", "--source", scene.source, "--frames", "4", "--size", *size]
    assert speed.main([*chosen, "--threads", "1", "--output", str(output)]) == 0
    report = output.with_suffix(".md").read_text()
    assert report in capsys.readouterr().out
    assert report.count("\n| b |") == 2 and "| a |" not in report
    saved = json.loads(output.with_suffix(".json").read_text())
    assert saved["machine"]["threads"] == 1 and len(saved["rows"]) == 2
    assert len(saved["rows"][0]["raw"]["ours"]["wall"]) == 2


def test_a_scene_travels_to_another_process(scene: Scene) -> None:
    back = json.loads(json.dumps(asdict(scene)))
    assert Scene(**{**back, "size": tuple(back["size"])}) == scene
