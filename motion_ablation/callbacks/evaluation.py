"""Metrics at validation and test."""

from __future__ import annotations

from typing import Any

import lightning as L
import numpy as np
import torch
from torchmetrics.utilities import dim_zero_sum

from motion_ablation.cache.addresses import metric_version
from motion_ablation.cache.artefacts import Artefacts, Tensors, content_hash
from motion_ablation.callbacks.base import SampleCallback, cell_of, gathered
from motion_ablation.data.world.segmentation import against_truth
from motion_ablation.metrics import METRICS
from motion_ablation.records import Sample


class MetricCallback(SampleCallback):
    """Computes one metric at validation, separately for each initial noise, and logs ``val/<noise>/<metric>``.

    Args:
        metric: ``{name: ..., **options}`` of a registered metric.

    Attributes:
        rows: one row per scored sample of the last validation: its cell, and the score under the metric's name.
    """

    def __init__(self, metric: dict[str, Any]) -> None:
        self.name, self.options = METRICS.parse(metric, "MetricCallback.metric")
        self.states: dict[str, Any] = {}
        self.rows: list[dict[str, Any]] = []
        self.values: dict[str, float] = {}

    @property
    def state_key(self) -> str:
        return f"MetricCallback[{self.name}]"

    def start(self, trainer: L.Trainer, module: Any) -> None:
        self.rows = []
        noises = trainer.datamodule.hparams["noises"]  # type: ignore[attr-defined]
        for noise in noises:
            if noise not in self.states:
                self.states[noise] = METRICS.build(self.name, **self.options).to(module.device)
            self.states[noise].reset()

    def on_samples(self, trainer: L.Trainer, module: Any, samples: list[Sample]) -> None:
        state = self.states[samples[0].noise]
        keeps = getattr(module, "keeps_videos", False) and state.per_sample and set(state._reductions.values()) == {dim_zero_sum}
        scores = self._kept_scores(module.artefacts, state, samples) if keeps else state.update_samples(samples)
        if scores is not None:
            self.rows += [{**cell_of(sample), self.name: score} for sample, score in zip(samples, scores, strict=True)]

    def _kept_scores(self, artefacts: Artefacts, state: Any, samples: list[Sample]) -> list[float]:
        """The scores of a batch, measured once for the same videos; the metric's state, all sums, grows by the same either way."""
        before = state.metric_state
        reference = samples[0].reference.frames
        recipe = {
            "metric": metric_version({"name": self.name, **self.options}),
            "frames": [content_hash(sample.frames) for sample in samples],
            "reference": content_hash(reference) if "reference" in state.reads else "",
            "prompt": [sample.prompt for sample in samples] if "prompt" in state.reads else [],
        }

        def measure() -> Tensors:
            state.reset()
            scores = state.update_samples(samples)
            return {
                "scores": torch.tensor(scores, dtype=torch.float64),
                **{f"state.{name}": value for name, value in state.metric_state.items()},
            }

        kept = artefacts.get("scores", recipe, measure)
        for name, value in before.items():
            setattr(state, name, value + kept[f"state.{name}"].to(value))
        state._update_count = max(1, state._update_count)  # else torchmetrics warns that nothing was measured
        return [float(score) for score in kept["scores"]]

    def end(self, trainer: L.Trainer, module: Any, stage: str) -> None:
        self.rows = gathered(self.rows, trainer)
        self.values = {f"{noise}/{self.name}": float(state.compute()) for noise, state in self.states.items()}
        # States have synchronised already, so every rank logs the same number.
        for name, value in self.values.items():
            module.log(f"{stage}/{name}", value, rank_zero_only=True)


class TruthCallback(SampleCallback):
    """On built-in references: how far the generated object is from the true trajectory, judged by its colour.

    Logs, per initial noise, the mean ``trajectory_error`` (the frame is 2 wide; lower is better), ``direction`` (cosine
    of displacements with the true ones) and ``prompt_colors`` (share of videos that show the prompt's two colours).
    Real references have no truth and are left out.
    """

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []
        self.values: dict[str, float] = {}

    def start(self, trainer: L.Trainer, module: Any) -> None:
        self.rows = []

    def on_samples(self, trainer: L.Trainer, module: Any, samples: list[Sample]) -> None:
        for sample in samples:
            found = against_truth(sample.frames, sample.prompt, sample.reference.truth.get("center"))
            if found:
                self.rows.append({**cell_of(sample), **found})

    def end(self, trainer: L.Trainer, module: Any, stage: str) -> None:
        self.values, self.rows = {}, gathered(self.rows, trainer)
        for noise in dict.fromkeys(row["noise"] for row in self.rows):
            for name in ("trajectory_error", "direction", "prompt_colors"):
                scores = [row[name] for row in self.rows if row["noise"] == noise and name in row]
                if scores:
                    self.values[f"{noise}/{name}"] = float(np.mean(scores))
                    module.log(f"{stage}/{noise}/{name}", float(np.mean(scores)), rank_zero_only=True)
