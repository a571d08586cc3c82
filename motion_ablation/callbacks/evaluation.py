"""Metrics at validation and test."""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import Any

import lightning as L

from motion_ablation.callbacks.base import SampleCallback, gathered
from motion_ablation.evaluation.evaluator import Evaluator
from motion_ablation.metrics import EvaluationConfig
from motion_ablation.records import Sample


class EvaluationCallback(SampleCallback):
    """Scores the generated videos, separately for each initial noise, and logs ``val/<noise>/<metric>``.

    Args:
        config: the ``evaluation`` section of the configuration.

    Attributes:
        rows: one row per video of the last validation: its cell, and its score under each metric's name; NaN where it has none.
        values: the last validation's results by ``<noise>/<metric>``; what is NaN is not logged.

    Raises:
        ValueError: for what is not a metric, or an option that it does not take.
    """

    def __init__(self, config: EvaluationConfig) -> None:
        self.options = config.options()
        self.evaluators: dict[str, Evaluator] = {}
        self.rows: list[dict[str, Any]] = []
        self.values: dict[str, float] = {}

    @property
    def protocols(self) -> dict[str, dict[str, object]]:
        """How each number was made, by metric; empty before the first validation."""
        return next((evaluator.protocols() for evaluator in self.evaluators.values()), {})

    def start(self, trainer: L.Trainer, module: Any) -> None:
        self.rows = []
        for noise in trainer.datamodule.hparams["noises"]:  # type: ignore[attr-defined]
            if noise not in self.evaluators:
                self.evaluators[noise] = Evaluator(self.options, module.device)
            self.evaluators[noise].reset()
            self.evaluators[noise].kept = module.artefacts if getattr(module, "keeps_videos", False) else None

    def on_samples(self, trainer: L.Trainer, module: Any, samples: list[Sample]) -> None:
        found = self.evaluators[samples[0].noise].add(samples)
        self.rows += [{**asdict(sample.cell), **scores} for sample, scores in zip(samples, found, strict=True)]

    def end(self, trainer: L.Trainer, module: Any, stage: str) -> None:
        self.rows = gathered(self.rows, trainer)
        # Every process asks every metric in this order: they synchronise their states, so that all have the same number.
        self.values = {f"{noise}/{name}": own.value(name) for name in self.options for noise, own in self.evaluators.items()}
        for name, value in self.values.items():
            if not math.isnan(value):
                module.log(f"{stage}/{name}", value, rank_zero_only=True)
