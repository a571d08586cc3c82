"""What a run leaves behind: its embedding, its loss curve and ``result.json``."""

from __future__ import annotations

import os
import platform
import time
from importlib.metadata import version
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import Callback

from motion_ablation.callbacks.base import SampleCallback, run_folder
from motion_ablation.callbacks.evaluation import EvaluationCallback
from motion_ablation.callbacks.loggers import log_settings, log_table
from motion_ablation.callbacks.training import Training
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


class ResultCallback(SampleCallback):
    """Writes ``result.json`` after validation: configuration, seed, versions, timings, parameter counts, loss curve, scores (null for NaN).

    Also gives every logger the hyper-parameters with the scores, so that runs can be compared, and the scores of each video as a table.

    Attributes:
        config: the resolved configuration. labels: further hyper-parameters, such as the experiment's name.
        scored: the training step whose validation came last, or None. training: the one that made the embedding, so far.
    """

    PACKAGES = ("motion-ablation", "torch", "lightning", "diffusers", "transformers", "peft", "torchmetrics", "clean-fid")

    def __init__(self) -> None:
        self.started = time.time()
        self.config: dict[str, Any] = {}
        self.labels: dict[str, str] = {}
        self.scored: int | None = None
        self.training = Training()
        self._took_over = False

    def on_fit_start(self, trainer: L.Trainer, pl_module: Any) -> None:
        self.started = time.time()

    def on_train_end(self, trainer: L.Trainer, pl_module: Any) -> None:
        self.training.steps, self.training.seconds = trainer.global_step, time.time() - self.started

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        steps, losses = trainer.global_step, self.training.losses
        told = losses[-1][0] + 1 if losses else 0  # batches whose gradients are accumulated all see the step before
        if outputs and steps > told and steps % trainer.log_every_n_steps == 0:  # type: ignore[attr-defined]
            loss = float(outputs["loss"]) * trainer.accumulate_grad_batches  # Lightning hands it over divided
            losses.append((steps - 1, loss))

    def state_dict(self) -> dict[str, Any]:
        return {"losses": self.training.losses}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.training.losses = list(state_dict["losses"])

    def take_over(self, trainer: L.Trainer, training: Training) -> None:
        """Tells of the training of another run, whose embedding this one has, as if it were its own: in the loggers, at once and as the
        step of validations, and in ``result.json``."""
        self.training.steps, self.training.seconds, self.training.losses = training.steps, training.seconds, training.losses
        self._took_over = True
        for logger in trainer.loggers:
            for step, loss in training.losses:
                logger.log_metrics({"train/loss": loss}, step)

    def end(self, trainer: L.Trainer, module: Any, stage: str) -> None:
        if trainer.sanity_checking:
            return
        self.scored = trainer.global_step
        if self._took_over:  # the trainer itself would log the scores at step 0; a metric of this name tells it the step
            module.log("step", float(self.training.steps), rank_zero_only=True)
        if not trainer.is_global_zero or trainer.fast_dev_run:  # type: ignore[attr-defined]
            return
        scorers = [callback for callback in trainer.callbacks if isinstance(callback, EvaluationCallback)]  # type: ignore[attr-defined]
        values = {name: value for scorer in scorers for name, value in scorer.values.items()}
        result = {
            "status": "done",
            "config": self.config,
            "captions": {source.name: source.caption for source in trainer.datamodule.dataset.sources},  # type: ignore[attr-defined]
            "seed": os.environ.get("PL_GLOBAL_SEED"),
            "versions": {"python": platform.python_version(), **{name: version(name) for name in self.PACKAGES}},
            "parameters": {
                "trainable": module.embeddings.parameter_count,
                "frozen": sum(p.numel() for p in module.backbone.parameters()),
            },
            "steps": trained_steps(trainer),
            "train_seconds": round(self.training.seconds, 2),
            "loss": self.training.curve(),
            "seconds": round(time.time() - self.started, 2),
            "backbone": module.backbone.fingerprint,
            "cut_texts": module.left_out,
            "metrics": values,
            "protocols": {name: protocol for scorer in scorers for name, protocol in scorer.protocols.items()},
            "cells": [row for scorer in scorers for row in scorer.rows],
        }
        write_json(run_folder(trainer) / "result.json", result)
        for logger in trainer.loggers:
            log_settings(logger, self._settings(module), values)
            log_table(logger, "scores", [row for scorer in scorers for row in scorer.rows], trained_steps(trainer))

    def _settings(self, module: Any) -> dict[str, Any]:
        """What tells runs apart, flat; every run names the same keys."""
        config = module.motion_config
        streams = config.streams()
        flat: dict[str, Any] = {name: self.labels.get(name, "") for name in ("clip", "experiment")} | self.labels
        for name in ("qk", "v"):
            for axis in ("layout", "integration", "debias"):
                flat[f"{name}.{axis}"] = " ".join(str(v) for v in getattr(streams[name], axis).values()) if name in streams else "none"
        flat |= {"adapter": " ".join(str(v) for v in (config.adapter or {"name": "none"}).values()), "objective": module.objective_name}
        flat |= {"appearance": " ".join(str(v) for v in (module.appearance_config or {"name": "none"}).values())}
        flat |= {"sites": f"{' '.join(config.sites.stages)}, {config.sites.channels}, {' '.join(config.sites.attentions)}"}
        flat |= {"lr": module.optimizer_config.lr, "guidance": module.sampling.guidance, "parameters": module.embeddings.parameter_count}
        return flat


def trained_steps(trainer: L.Trainer) -> int:
    """Optimiser steps that made the embedding in use: the trainer's own so far, or those of a training that was taken over."""
    told = [callback.training.steps for callback in trainer.callbacks if isinstance(callback, ResultCallback)]  # type: ignore[attr-defined]
    return max([trainer.global_step, *told])
