"""One run on several processes: cells are shared out, none twice, and what is logged and written is what one process would have."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from motion_ablation.cli.lightning import main
from motion_ablation.data.reference import ReferenceDataModule, split_evenly
from motion_ablation.study.plan.run import Run
from motion_ablation.study.run.execute import execute

TWO = ["--trainer.accelerator", "cpu", "--trainer.devices", "2", "--trainer.strategy", "ddp"]


@given(st.lists(st.integers(0, 9), min_size=1, max_size=6), st.integers(1, 5), st.integers(1, 7))
def test_every_item_goes_to_one_rank(sizes: list[int], size: int, ranks: int) -> None:
    groups = [[(group, item) for item in range(count)] for group, count in enumerate(sizes)]
    shares = split_evenly(groups, size, ranks)
    items = [item for share in shares for _, batch in share for item in batch]
    assert sorted(items) == [item for group in groups for item in group], "each once"
    assert all(item[0] == group for share in shares for group, batch in share for item in batch), "a batch is of one group"
    assert all(len(batch) <= size for share in shares for _, batch in share)
    assert len({len(share) for share in shares}) == 1, "as many batches for all"
    loads = [sum(len(batch) for _, batch in share) for share in shares]
    assert max(loads) - min(loads) <= 1


def test_one_process_has_all_cells_in_whole_batches() -> None:
    assert split_evenly([[1, 2, 3], [4]], 2, 1) == [[(0, [1, 2]), (0, [3]), (1, [4])]]


def test_the_loaders_of_all_ranks_hold_the_cells_once(tmp_path: Path) -> None:
    dealt: list[Any] = []
    lengths = set()
    for rank in range(4):
        data = ReferenceDataModule(
            ["builtin:orbit", "builtin:slide"], frames=4, size=16, prompts=["a", "b", "c"], seeds=[7], val_batch_size=2, cache=str(tmp_path)
        )
        data.trainer = SimpleNamespace(global_rank=rank, world_size=4)  # type: ignore[assignment]
        batches = list(data.val_dataloader())
        lengths.add(len(batches))
        dealt += [cell for batch in batches for cell in batch.cells]
    assert sorted(dealt) == sorted(data.cells) and data.cell_count == len(set(dealt)) == 12
    assert len(lengths) == 1


def test_a_run_of_a_study_keeps_to_one_device(tmp_path: Path) -> None:
    run = Run("baseline", "orbit", tmp_path / "baseline" / "orbit", [], "recipe", True, config={"trainer": {"devices": 2}})
    result = execute(run)
    assert result["status"] == "failed"
    assert result["reason"] == "a run of a study uses one device, not trainer.devices: 2; --workers and --cluster use more"


def _run(*arguments: str) -> None:
    """``lightning`` in a process of its own, which starts the second."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MOTION_ABLATION_TRACEBACK": "1"}
    ended = subprocess.run(
        [sys.executable, "-m", "motion_ablation.cli.lightning", *arguments], env=environment, capture_output=True, text=True
    )
    assert ended.returncode == 0, ended.stderr[-3000:]
    assert "MEMBER: 2/2" in ended.stderr, "there were two"


def _config(folder: Path, settings: dict[str, Any], **data: Any) -> str:
    settings["data"] |= data
    path = folder / "distributed.yaml"
    path.write_text(yaml.safe_dump(settings))
    return str(path)


def _result(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "runs" / "fit" / "result.json").read_text())
    return found


def _check_alone(folder: Path, config: str) -> None:
    """One process must find the same on the embedding that two have trained."""
    together = _result(folder)
    embedding = folder / "runs" / "fit" / "motion.safetensors"
    main(["validate", "--config", config, "--model.embedding", str(embedding)])
    alone = _result(folder)
    assert together["steps"] == 2 and alone["steps"] == 0
    assert set(together["metrics"]) == set(alone["metrics"]) >= {"blend/text_similarity", "blend/motion_fidelity", "blend/fid"}
    assert together["metrics"].keys() == alone["metrics"].keys()
    for name, value in alone["metrics"].items():
        found = together["metrics"][name]
        assert found is None if value is None else found == pytest.approx(value, rel=1e-3, abs=1e-4), name
    names = ("reference", "prompt", "seed", "noise")
    assert [[cell[name] for name in names] for cell in together["cells"]] == [[cell[name] for name in names] for cell in alone["cells"]]
    for one, other in zip(together["cells"], alone["cells"], strict=True):
        assert one.keys() == other.keys()
        for name, value in other.items():
            assert one[name] == (pytest.approx(value, abs=1e-3) if isinstance(value, float) else value), name


def test_two_processes_train_and_score_as_one(tmp_path: Path, tiny_settings: dict[str, Any]) -> None:
    config = _config(tmp_path, tiny_settings, seeds=[0, 1, 2], val_batch_size=2)
    _run("fit", "--config", config, *TWO)
    _check_alone(tmp_path, config)
    assert len(_result(tmp_path)["cells"]) == 2 * 3


@pytest.mark.slow
def test_a_process_without_any_cell_changes_nothing(tmp_path: Path, tiny_settings: dict[str, Any]) -> None:
    config = _config(tmp_path, tiny_settings, noises=["blend"])
    _run("fit", "--config", config, *TWO)
    _check_alone(tmp_path, config)
