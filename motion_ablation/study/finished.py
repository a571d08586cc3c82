"""A finished run: its scores, and what lies in its folder: lossless videos, the reference, and how its metrics were configured."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from einops import rearrange
from torch import Tensor

from motion_ablation.callbacks import cell_stem
from motion_ablation.data.reference import ReferenceDataModule
from motion_ablation.metrics import METRICS, EvaluationConfig, VideoMetric
from motion_ablation.records import CELL, Cell, Clip
from motion_ablation.study.plan.run import Run

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


class NotThere(ValueError):
    """Something that would have to be in a run's folder is not there; the message says what."""


@dataclass(frozen=True)
class Finished:
    """A run that is done, under the name of an experiment that shows it.

    Attributes:
        experiment: its own, or another that resolves to the same configuration. run: where it is. result: its ``result.json``.
    """

    experiment: str
    run: Run
    result: dict[str, Any]

    @property
    def same_as(self) -> str:
        """The experiment whose run it shares; empty if the run is its own."""
        return "" if self.run.experiment == self.experiment else self.run.experiment

    @property
    def rows(self) -> list[dict[str, Any]]:
        """One row per generated video: the values of its :class:`~motion_ablation.records.Cell`, and its scores by metric."""
        rows: list[dict[str, Any]] = self.result["cells"]
        return rows

    @property
    def cells(self) -> list[Cell]:
        """The keys of all its generated videos, in order."""
        return [Cell.of(row) for row in self.rows]

    @property
    def protocols(self) -> dict[str, dict[str, Any]]:
        """What each metric says of how it was taken."""
        protocols: dict[str, dict[str, Any]] = self.result.get("protocols", {})
        return protocols

    def video(self, cell: Cell) -> Tensor:
        """A generated video ``(f, 3, h, w)`` in ``[0, 1]``. Raises :class:`NotThere`."""
        return self._frames(f"{cell_stem(**{name: getattr(cell, name) for name in CELL})}.npz")[0]

    def reference_video(self) -> tuple[Tensor, float]:
        """The reference's frames as the run saw them, ``(f, 3, h, w)`` in ``[0, 1]``, and their rate. Raises :class:`NotThere`."""
        return self._frames("reference.npz")

    def reference_clip(self) -> Clip:
        """The reference as it is read from its file, with its truth if that is known. Raises :class:`NotThere`."""
        try:
            return ReferenceDataModule(**self._config()["data"]).dataset[0]
        except (OSError, ValueError) as error:
            raise NotThere(f"the reference of {self.run.name} cannot be read again: {error}") from error

    def metric(self, name: str) -> VideoMetric:
        """The metric as the run scored with it.

        Raises:
            NotThere: where the run had no such metric, or this version of the metric works by another protocol.
        """
        options = self._metric_options()
        if name not in options:
            raise NotThere(f"{self.run.name} was not scored with {name}")
        metric: VideoMetric = METRICS.build(name, **options[name])
        then = self.protocols.get(name, {})
        for key, value in metric.protocol.items():
            if isinstance(value, str) and then.get(key) != value:  # numbers count what was scored
                raise NotThere(
                    f"{self.run.name} was scored with another version of {name} ({key}: {then.get(key)}, now {value}); run the study again"
                )
        return metric.to(DEVICE)

    def _metric_options(self) -> dict[str, dict[str, Any]]:
        """The metrics of the run's configuration and their options, by name."""
        config = self._config()
        if "evaluation" not in config:
            raise NotThere(f"{self.run.name} was scored by an older version; run the study again")
        return EvaluationConfig(**config["evaluation"]).options()

    def _config(self) -> dict[str, Any]:
        path = self.run.folder / "config.yaml"
        if not path.is_file():
            raise NotThere(f"{self.run.name}/{path.name} is not there")
        config: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
        return config

    def _frames(self, name: str) -> tuple[Tensor, float]:
        path = self.run.folder / "frames" / name
        if not path.is_file():
            raise NotThere(f"{self.run.name}/frames/{name} is not there")
        return read_frames(path)


def read_frames(path: Path) -> tuple[Tensor, float]:
    """A lossless video ``(f, 3, h, w)`` in ``[0, 1]`` and its frames per second (8 where it does not say)."""
    with np.load(path) as data:
        frames = torch.from_numpy(rearrange(data["frames"], "f h w c -> f c h w")).float() / 255
        return frames, float(data["fps"]) if "fps" in data else 8.0
