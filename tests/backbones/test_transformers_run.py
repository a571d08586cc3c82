"""The shipped configurations of the transformers, on tiny models of the same classes: fitted, scored, gone on with, generated, compared."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from motion_ablation.cli.lightning import main
from motion_ablation.cli.studies import main as studies
from motion_ablation.motion import MotionEmbeddings
from motion_ablation.study.plan.cards import read_card

ROOT = Path(__file__).parents[2]
Settings = Callable[[Path], dict[str, Any]]


def files(name: str, folder: Path, settings: dict[str, Any], *experiments: str) -> list[str]:
    """The backbone's shipped file, experiments, and last what makes them quick."""
    settings["model"]["backbone"] = {"source": str(folder)}
    settings["data"].update(frames=9, size=32)
    quick = Path(settings["model"]["cache"]).parent / "quick.yaml"
    quick.write_text(yaml.safe_dump(settings))
    paths = [ROOT / "experiments" / f"{each}.yaml" for each in (f"backbones/{name}", *experiments)]
    return [word for path in (*paths, quick) for word in ("--config", str(path))]


@pytest.mark.parametrize("name", ["wan", "cogvideox"])
def test_it_fits_is_scored_goes_on_and_predicts(name: str, request: pytest.FixtureRequest, settings_for: Settings, tmp_path: Path) -> None:
    config = files(name, request.getfixturevalue(f"{name}_folder"), settings_for(tmp_path), "mqk_partial")
    main(["fit", *config])
    run = tmp_path / "runs" / "fit"
    result = json.loads((run / "result.json").read_text())
    assert result["status"] == "done" and result["steps"] == 2
    assert {metric.split("/")[1] for metric in result["metrics"]} >= {"text_similarity", "motion_fidelity", "temporal_consistency", "fid"}
    trained = MotionEmbeddings.load(run / "motion.safetensors")
    assert trained.config.qk is not None and trained.config.qk.layout["name"] == "coarse_grid"
    assert [site.tokens for site in trained.sites] == ["joint"] and all(p.abs().max() > 0 for p in trained.parameters())
    main(["fit", *config, "--ckpt_path", str(run / "checkpoints" / "last.ckpt"), "--trainer.max_steps", "4"])
    assert json.loads((run / "result.json").read_text())["steps"] == 4
    main(["predict", *config, "--data.noises=[random]", f"--model.embedding={run / 'motion.safetensors'}"])
    assert len(list((run / "predictions").glob("*.mp4"))) == 1


@pytest.mark.slow
@pytest.mark.parametrize("name", ["wan", "cogvideox"])
def test_the_card_of_the_transformers_runs_and_is_not_run_twice(
    name: str, request: pytest.FixtureRequest, settings_for: Settings, tmp_path: Path
) -> None:
    settings = settings_for(tmp_path)
    del settings["trainer"]["logger"]  # a study has its own
    config = files(name, request.getfixturevalue(f"{name}_folder"), settings)
    card = ROOT / "experiments" / "studies" / "transformer_design.yaml"
    command = ["run", str(card), *config, "--output", str(tmp_path / "out")]
    studies(command)
    results = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("result.json")}
    assert all(json.loads(path.read_text())["status"] == "done" for path in results)
    table = (tmp_path / "out" / "table.md").read_text()
    assert "Runs without a result" not in table and all(f"| {each} " in table for each in read_card(card).experiments)
    studies(command)
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("result.json")} == results
