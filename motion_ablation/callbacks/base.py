"""What callbacks of this package share: they see every generated sample, whatever the loop."""

from __future__ import annotations

from itertools import chain
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback

from motion_ablation.records import Cell, Sample


def run_folder(trainer: L.Trainer) -> Path:
    """Where a run writes: its logger's folder; of a logger that has none, the trainer's root if one is set, else where Lightning puts the
    checkpoints."""
    logger, root = trainer.logger, Path(trainer.default_root_dir)
    if logger is not None and logger.log_dir:
        return Path(logger.log_dir)
    if logger is None or not logger.save_dir or root.resolve() != Path.cwd():
        return root
    return Path(logger.save_dir, *(str(part) for part in (logger.name, logger.version) if part not in (None, "")))


def gathered(rows: list[dict[str, Any]], trainer: L.Trainer) -> list[dict[str, Any]]:
    """The rows of all processes, given to each, in the order in which one process makes them; every process must ask."""
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return rows
    shares: list[Any] = [None] * torch.distributed.get_world_size()
    torch.distributed.all_gather_object(shares, rows)
    order = {cell: place for place, cell in enumerate(trainer.datamodule.cells)}  # type: ignore[attr-defined]
    return sorted(chain.from_iterable(shares), key=lambda row: order[Cell.of(row)])


class SampleCallback(Callback):
    """A callback that sees every generated sample, at validation and test alike."""

    def on_samples(self, trainer: L.Trainer, module: Any, samples: list[Sample]) -> None:
        """Called once per batch of generated videos."""

    def start(self, trainer: L.Trainer, module: Any) -> None:
        """Called before the first batch."""

    def end(self, trainer: L.Trainer, module: Any, stage: str) -> None:
        """Called after the last batch; ``stage`` is ``val`` or ``test``."""

    def on_validation_epoch_start(self, trainer: L.Trainer, pl_module: Any) -> None:
        self.start(trainer, pl_module)

    def on_test_epoch_start(self, trainer: L.Trainer, pl_module: Any) -> None:
        self.start(trainer, pl_module)

    def on_validation_batch_end(self, trainer: L.Trainer, pl_module: Any, outputs: Any, *args: Any) -> None:
        if outputs["samples"]:  # one of several processes may have nothing left to generate
            self.on_samples(trainer, pl_module, outputs["samples"])

    def on_test_batch_end(self, trainer: L.Trainer, pl_module: Any, outputs: Any, *args: Any) -> None:
        self.on_validation_batch_end(trainer, pl_module, outputs, *args)

    def on_validation_epoch_end(self, trainer: L.Trainer, pl_module: Any) -> None:
        self.end(trainer, pl_module, "val")

    def on_test_epoch_end(self, trainer: L.Trainer, pl_module: Any) -> None:
        self.end(trainer, pl_module, "test")
