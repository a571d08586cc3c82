"""Every logger gets a run's scalars, hyper-parameters, videos and tables, in its own way."""

from __future__ import annotations

import csv
import json
import shutil
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import yaml
from lightning.pytorch.loggers import CSVLogger, Logger, TensorBoardLogger
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from motion_ablation.callbacks import run_folder
from motion_ablation.callbacks.loggers import log_settings, log_table, log_video
from motion_ablation.cli.lightning import main
from motion_ablation.configure.parse import resolve
from motion_ablation.configure.shipped import FOLDER
from motion_ablation.data.video import write_gif
from motion_ablation.study.plan.cards import read_card
from motion_ablation.study.plan.planning import Options, _logging, _with_settings, make_study
from motion_ablation.study.run.execute import execute

ROWS = [{"prompt": "a | b", "seed": 0, "direction": 0.5}, {"prompt": "c", "seed": 1, "direction": float("nan")}]


def wandb_logger(folder: Path) -> Any:
    pytest.importorskip("wandb", reason="pip install 'motion-ablation[wandb]'")
    from lightning.pytorch.loggers import WandbLogger

    return WandbLogger(save_dir=folder, project="motion", offline=True, version="run1")


def told(logger: Logger, root: Path | None = None) -> Path:
    """The run's folder of a logger, after it was told everything."""
    trainer: Any = SimpleNamespace(logger=logger, default_root_dir=str(root or Path.cwd()))
    gif = run_folder(trainer) / "videos" / "orbit.gif"
    write_gif(gif, torch.rand(4, 3, 16, 16), 8.0)
    logger.log_metrics({"train/loss": 0.5}, 3)
    log_settings(logger, {"experiment": "baseline", "lr": 0.05}, {"random/direction": 0.5, "random/fid": float("nan")})
    log_video(logger, "orbit/random", gif, "reference; a star", 7)
    log_table(logger, "scores", ROWS, 7)
    logger.save()
    logger.finalize("success")
    return run_folder(trainer)


def test_tensorboard_gets_everything(tmp_path: Path) -> None:
    folder = told(TensorBoardLogger(tmp_path, "fit", version="", default_hp_metric=False))
    assert folder == tmp_path / "fit"
    events = EventAccumulator(str(folder), {"images": 0, "scalars": 0, "tensors": 0}).Reload()
    assert events.Scalars("train/loss")[0].value == 0.5 and "hp/random/direction" in events.Tags()["scalars"]
    assert events.Images("orbit/random")[0].step == 7 and events.Images("orbit/random")[0].width == 16
    (text,) = events.Tensors("scores/text_summary")[0].tensor_proto.string_val
    assert text.decode().splitlines() == [
        "| prompt | seed | direction |",
        "| --- | --- | --- |",
        "| a \\| b | 0 | 0.5 |",
        "| c | 1 | None |",
    ]


def test_csv_gets_everything(tmp_path: Path) -> None:
    folder = told(CSVLogger(tmp_path, "fit"))
    assert folder == tmp_path / "fit" / "version_0" and (folder / "videos" / "orbit.gif").is_file()
    assert yaml.safe_load((folder / "hparams.yaml").read_text()) == {"experiment": "baseline", "lr": 0.05}
    assert "0.5" in (folder / "metrics.csv").read_text()
    with (folder / "scores.csv").open() as file:
        assert list(csv.reader(file)) == [["prompt", "seed", "direction"], ["a | b", "0", "0.5"], ["c", "1", ""]]


def test_wandb_gets_everything_without_a_network(tmp_path: Path) -> None:
    logger = wandb_logger(tmp_path)
    folder = told(logger)
    run = logger.experiment
    assert folder == tmp_path / "motion" / "run1", "where Lightning puts its checkpoints"
    assert (run.config["experiment"], run.config["lr"]) == ("baseline", 0.05)
    assert run.summary["train/loss"] == 0.5
    media = Path(run.dir) / "media"
    run.finish()
    (gif,) = media.rglob("*.gif")
    assert Image.open(gif).n_frames == 4  # type: ignore[attr-defined]
    (table,) = media.rglob("*.table.json")
    assert json.loads(table.read_text())["data"] == [["a | b", 0, 0.5], ["c", 1, None]]


def test_another_logger_gets_what_lightning_has_a_call_for(tmp_path: Path) -> None:
    class Other(Logger):
        """Keeps what it is told, and no file."""

        name, version = "other", 0

        def __init__(self) -> None:
            self.settings: dict[str, Any] = {}
            self.metrics: dict[str, float] = {}

        def log_hyperparams(self, params: Any, *_: Any, **__: Any) -> None:
            self.settings |= params

        def log_metrics(self, metrics: Any, step: int | None = None) -> None:
            self.metrics |= metrics

    logger = Other()
    assert told(logger, tmp_path / "root") == tmp_path / "root" and (tmp_path / "root" / "videos" / "orbit.gif").is_file()
    assert logger.settings == {"experiment": "baseline", "lr": 0.05} and logger.metrics == {"train/loss": 0.5}


@pytest.mark.parametrize("kind", ["CSVLogger", "WandbLogger"])
def test_a_run_works_with_any_logger(tmp_path: Path, tiny_settings: dict[str, Any], kind: str) -> None:
    options: dict[str, Any] = {"save_dir": str(tmp_path / "runs"), "name": "fit", "version": "run1"}
    if kind == "WandbLogger":
        pytest.importorskip("wandb", reason="pip install 'motion-ablation[wandb]'")
        options = {"save_dir": str(tmp_path / "runs"), "project": "fit", "version": "run1", "offline": True}
    tiny_settings["trainer"]["logger"] = {"class_path": f"lightning.pytorch.loggers.{kind}", "init_args": options}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(tiny_settings))
    main(["fit", "--config", str(tmp_path / "config.yaml")])
    folder = tmp_path / "runs" / "fit" / "run1"
    assert json.loads((folder / "result.json").read_text())["captions"].keys() == {"orbit"}
    assert (folder / "motion.safetensors").is_file() and (folder / "videos" / "orbit-random.gif").is_file()
    if kind == "WandbLogger":
        import wandb

        assert wandb.run is not None
        media = Path(wandb.run.dir) / "media"
        assert wandb.run.config["experiment"] == "" and "val/random/temporal_consistency" in wandb.run.summary.keys()  # noqa: SIM118
        wandb.finish()
        assert len(list(media.rglob("*.gif"))) == 2 and len(list(media.rglob("*.table.json"))) == 1
    else:
        assert (folder / "scores.csv").is_file() and "val/random/temporal_consistency" in (folder / "metrics.csv").read_text()
        assert "lr" in yaml.safe_load((folder / "hparams.yaml").read_text())


@pytest.mark.parametrize(
    ("logger", "settings"),
    [
        ("TensorBoardLogger", {"save_dir": "results/s", "name": "baseline", "version": "orbit"}),
        ("CSVLogger", {"save_dir": "results/s", "name": "baseline", "version": "orbit"}),
        ("WandbLogger", {"save_dir": "results/s/baseline/orbit", "name": "baseline/orbit", "version": None}),
        ("", {}),
    ],
)
def test_a_run_of_a_study_writes_into_its_folder_whatever_its_logger(logger: str, settings: dict[str, Any]) -> None:
    config = resolve([f"--trainer.logger=lightning.pytorch.loggers.{logger}" if logger else "--trainer.logger=false"])
    study, folder = Path("results/s"), Path("results/s/baseline/orbit")
    own = _with_settings(config, _logging(config, study, "baseline", folder))["trainer"]
    options = own["logger"]["init_args"] if logger else {}
    assert {key: options[key] for key in settings} == settings
    made: Any = {"TensorBoardLogger": TensorBoardLogger, "CSVLogger": CSVLogger}.get(logger)
    trainer: Any = SimpleNamespace(logger=made(**settings) if made else None, default_root_dir=own["default_root_dir"])
    assert run_folder(trainer) == folder


def test_a_study_with_wandb_has_whole_runs(tmp_path: Path, tiny_settings: dict[str, Any]) -> None:
    wandb = pytest.importorskip("wandb", reason="pip install 'motion-ablation[wandb]'")
    del tiny_settings["data"]["references"]
    tiny_settings["trainer"]["logger"] = {"class_path": "lightning.pytorch.loggers.WandbLogger", "init_args": {"offline": True}}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(tiny_settings))
    (tmp_path / "studies").mkdir()
    for name in ("no_motion", "baseline", "mqk_only"):
        shutil.copy(FOLDER / f"{name}.yaml", tmp_path)
    card = {"name": "n", "part": "p", "action": "REMOVE", "why": "w", "baseline": "baseline", "replacements": ["mqk_only"]}
    (tmp_path / "studies" / "card.yaml").write_text(yaml.safe_dump(card))
    options = Options(["builtin:orbit"], [str(tmp_path / "config.yaml")])
    study = make_study([read_card(tmp_path / "studies" / "card.yaml")], tmp_path / "study", options)
    results = [execute(run) for run in study.runs]
    assert wandb.run is None
    assert [result["status"] for result in results] == ["done"] * 3, results
    assert all((run.folder / "config.yaml").is_file() and run.result() is not None for run in study.runs)
    assert len(list((tmp_path / "study").glob("*/orbit/wandb/offline-run-*"))) == 3, "a run of its own each"


@pytest.mark.skipif(find_spec("wandb") is not None, reason="wandb is installed")
def test_a_logger_that_is_not_installed_is_told_in_one_line(tiny_config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["fit", "--config", str(tiny_config), "--trainer.logger=WandbLogger"])
    told = capsys.readouterr().err.strip().splitlines()
    assert "wandb" in told[-2] and told[-1].startswith("(set MOTION_ABLATION_TRACEBACK=1")
