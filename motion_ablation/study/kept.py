"""What a finished run keeps: its lossless videos, its reference, and how its metrics were configured."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from einops import rearrange
from torch import Tensor

from motion_ablation.cache.artefacts import Artefacts
from motion_ablation.callbacks import cell_stem
from motion_ablation.data.reference import ReferenceDataModule
from motion_ablation.metrics import METRICS, EvaluationConfig, VideoMetric
from motion_ablation.records import Clip
from motion_ablation.study.plan.study import Run, Study, read_result
from motion_ablation.study.results import CELL, done_runs

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
MEASURED = ".measured"  # an experiment cannot be called so: it would be a hidden file


class NotKept(ValueError):
    """Something that would have to be in a run's folder is not there; the message says what."""


def measured(study: Study) -> Artefacts:
    """What reports have measured on the kept videos, in the study's folder, so that the next report finds it."""
    return Artefacts(study.folder / MEASURED)


def runs_of(study: Study, experiment: str) -> dict[tuple[str, int], tuple[Run, dict[str, Any]]]:
    """An experiment's finished runs with their results, by reference and training seed."""
    return {(run.reference, run.train_seed): (run, result) for name, run, result in done_runs(study) if name == experiment}


def video(run: Run, cell: dict[str, Any]) -> Tensor:
    """A generated video ``(f, 3, h, w)`` in ``[0, 1]``. Raises :class:`NotKept`."""
    return _frames(run, f"{cell_stem(**{key: cell[key] for key in CELL})}.npz")


def reference_video(run: Run) -> Tensor:
    """The reference's frames as the run saw them, ``(f, 3, h, w)`` in ``[0, 1]``. Raises :class:`NotKept`."""
    return _frames(run, "reference.npz")


def reference_clip(run: Run) -> Clip:
    """A run's reference as it was read from its file, with its truth if that is known. Raises :class:`NotKept`."""
    path = run.folder / "config.yaml"
    try:
        return ReferenceDataModule(**yaml.safe_load(path.read_text(encoding="utf-8"))["data"]).dataset[0]
    except (OSError, ValueError) as error:
        raise NotKept(f"the reference of {run.name} cannot be read again: {error}") from error


def _frames(run: Run, name: str) -> Tensor:
    path = run.folder / "frames" / name
    if not path.is_file():
        raise NotKept(f"{run.name}/frames/{name} is not there")
    return read_frames(path)[0]


def metric_options(run: Run) -> dict[str, dict[str, Any]]:
    """The metrics of a run's own configuration and their options, by name. Raises :class:`NotKept`."""
    path = run.folder / "config.yaml"
    if not path.is_file():
        raise NotKept(f"{run.name}/{path.name} is not there")
    config = yaml.safe_load(path.read_text(encoding="utf-8"))
    if "evaluation" not in config:
        raise NotKept(f"{run.name} was scored by an older version; run the study again")
    return EvaluationConfig(**config["evaluation"]).options()


def build_metric(run: Run, name: str) -> VideoMetric:
    """The metric as the run scored with it.

    Raises:
        NotKept: where the run had no such metric, or this version of the metric works by another protocol.
    """
    options = metric_options(run)
    if name not in options:
        raise NotKept(f"{run.name} was not scored with {name}")
    metric: VideoMetric = METRICS.build(name, **options[name])
    then = (read_result(run.folder) or {}).get("protocols", {}).get(name, {})
    for key, value in metric.protocol.items():
        if isinstance(value, str) and then.get(key) != value:  # numbers count what was scored
            raise NotKept(
                f"{run.name} was scored with another version of {name} ({key}: {then.get(key)}, now {value}); run the study again"
            )
    return metric.to(DEVICE)


def read_frames(path: Path) -> tuple[Tensor, float]:
    """A kept video ``(f, 3, h, w)`` in ``[0, 1]`` and its frames per second (8 where it does not say)."""
    with np.load(path) as data:
        frames = torch.from_numpy(rearrange(data["frames"], "f h w c -> f c h w")).float() / 255
        return frames, float(data["fps"]) if "fps" in data else 8.0
