"""Every shipped card, end to end, on the built-in backbone with few steps."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from motion_ablation.cli.studies import main
from motion_ablation.study.plan.cards import experiments_in, read_card
from motion_ablation.study.plan.study import Study

ROOT = Path(__file__).parents[3]
CARDS = sorted((ROOT / "experiments" / "studies").glob("*.yaml"))


def test_every_experiment_is_in_a_card() -> None:
    used = {name for path in CARDS for name in read_card(path).experiments}
    assert used == set(experiments_in(ROOT / "experiments"))


@pytest.mark.slow
@pytest.mark.parametrize("card", CARDS, ids=lambda path: path.stem)
def test_every_card_runs(card: Path, tmp_path: Path) -> None:
    quick = tmp_path / "quick.yaml"
    settings = {
        "model": {"sampling": {"steps": 2, "inversion_steps": 2}, "cache": str(tmp_path / "cache")},
        "data": {"references": ["builtin:orbit"], "seeds": [0], "prompts": ["a red circle on a cyan background"], "steps_per_epoch": 2},
        "trainer": {"max_steps": 4, "check_val_every_n_epoch": 2},
    }
    quick.write_text(yaml.safe_dump(settings))
    main(["run", str(card), "--config", str(quick), "--output", str(tmp_path / "out")])
    read = read_card(card)
    metrics = set(Study.load(tmp_path / "out").metrics)
    assert metrics >= {"text_similarity", "motion_fidelity", "temporal_consistency", "fid"}
    for name in read.experiments:
        if name != "integration_add":  # the same configuration as the baseline
            result = json.loads((tmp_path / "out" / name / "orbit" / "result.json").read_text())
            assert result["status"] == "done"
            assert {key.split("/")[1] for key in result["metrics"]} >= metrics
    table = (tmp_path / "out" / "table.md").read_text()
    assert "Runs without a result" not in table
    assert all(f"| {name} " in table for name in read.experiments)
