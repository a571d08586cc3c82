"""What a run leaves behind: its embedding, its loss curve and ``result.json``."""

from __future__ import annotations

import os
import platform
import time
from importlib.metadata import version
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import TensorBoardLogger

from motion_ablation.callbacks.base import SampleCallback, merge_rows, run_folder
from motion_ablation.callbacks.evaluation import MetricCallback, TruthCallback
from motion_ablation.files import write_json


class EmbeddingCallback(Callback):
    """Writes the trained embeddings to ``motion.safetensors`` when training ends, and reports their size."""

    def on_fit_start(self, trainer: L.Trainer, pl_module: Any) -> None:
        if pl_module.embeddings.parameter_count == 0:
            # Nothing learns: one short epoch leads to the validation at once.
            trainer.fit_loop.max_epochs = 1
            trainer.check_val_every_n_epoch = 1

    def on_train_end(self, trainer: L.Trainer, pl_module: Any) -> None:
        if trainer.is_global_zero and pl_module.embeddings.parameter_count and not trainer.fast_dev_run:  # type: ignore[attr-defined]
            folder = run_folder(trainer)
            folder.mkdir(parents=True, exist_ok=True)
            pl_module.embeddings.save(folder / "motion.safetensors", backbone=pl_module.backbone.fingerprint)


class LossCurve(Callback):
    """Keeps the training loss as loggers see it.

    Attributes:
        points: ``(step, loss)`` of every step that Lightning logs (``trainer.log_every_n_steps``), in order.
    """

    def __init__(self) -> None:
        self.points: list[tuple[int, float]] = []

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        if trainer.global_step % trainer.log_every_n_steps == 0 and outputs is not None:  # type: ignore[attr-defined]
            self.points.append((trainer.global_step - 1, float(outputs["loss"])))


class ResultCallback(SampleCallback):
    """Writes ``result.json`` after validation: configuration, seed, versions, timings, parameter counts, scores.

    Also gives TensorBoard's HParams tab the hyper-parameters with the metrics, so that runs can be compared.

    Attributes:
        config: the resolved configuration. labels: further columns of the HParams tab, such as the experiment's name.
        scored: the training step whose validation came last, or None.
    """

    PACKAGES = ("motion-ablation", "torch", "lightning", "diffusers", "transformers", "peft", "torchmetrics", "clean-fid")

    def __init__(self) -> None:
        self.started = time.time()
        self.train_seconds = 0.0
        self.config: dict[str, Any] = {}
        self.labels: dict[str, str] = {}
        self.scored: int | None = None

    def on_fit_start(self, trainer: L.Trainer, pl_module: Any) -> None:
        self.started = time.time()

    def on_train_end(self, trainer: L.Trainer, pl_module: Any) -> None:
        self.train_seconds = time.time() - self.started

    def end(self, trainer: L.Trainer, module: Any, stage: str) -> None:
        if trainer.sanity_checking:
            return
        self.scored = trainer.global_step
        if not trainer.is_global_zero or trainer.fast_dev_run:  # type: ignore[attr-defined]
            return
        scorers = [c for c in trainer.callbacks if isinstance(c, MetricCallback | TruthCallback)]  # type: ignore[attr-defined]
        values: dict[str, float] = {}
        for scorer in scorers:
            values.update(scorer.values)
        result = {
            "status": "done",
            "config": self.config,
            "seed": os.environ.get("PL_GLOBAL_SEED"),
            "versions": {"python": platform.python_version(), **{name: version(name) for name in self.PACKAGES}},
            "parameters": {
                "trainable": module.embeddings.parameter_count,
                "frozen": sum(p.numel() for p in module.backbone.parameters()),
            },
            "steps": trainer.global_step,
            "seconds": round(time.time() - self.started, 2),
            "backbone": module.backbone.fingerprint,
            "metrics": values,
            "protocols": {c.name: next(iter(c.states.values())).protocol for c in scorers if isinstance(c, MetricCallback) and c.states},
            "cells": merge_rows([row for scorer in scorers for row in scorer.rows]),
        }
        write_json(run_folder(trainer) / "result.json", result)
        self._log_hparams(trainer, module, values)

    def _log_hparams(self, trainer: L.Trainer, module: Any, values: dict[str, float]) -> None:
        config = module.motion_config
        flat: dict[str, Any] = self.labels | {
            f"{name}.{axis}": " ".join(str(v) for v in getattr(stream, axis).values())
            for name, stream in config.streams().items()
            for axis in ("layout", "integration", "debias")
        }
        flat |= {"adapter": " ".join(str(v) for v in (config.adapter or {"name": "none"}).values()), "objective": module.objective_name}
        flat |= {"sites": f"{' '.join(config.sites.stages)}, {config.sites.channels}, {' '.join(config.sites.attentions)}"}
        flat |= {"lr": module.optimizer_config.lr, "guidance": module.sampling.guidance, "parameters": module.embeddings.parameter_count}
        for logger in trainer.loggers:
            if isinstance(logger, TensorBoardLogger):
                logger.log_hyperparams(flat, {f"hp/{name}": value for name, value in values.items()})
