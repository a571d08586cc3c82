"""What is told of a training: the loss curve as loggers have it, across accumulation and interruptions, and to and from the cache."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import torch
from lightning.pytorch.loggers import CSVLogger
from torch import Tensor, nn

from motion_ablation.callbacks import ResultCallback, Training
from motion_ablation.callbacks.training import POINTS


class _Line(L.LightningModule):
    """Learns one number."""

    def __init__(self) -> None:
        super().__init__()
        self.number = nn.Parameter(torch.ones(()))

    def training_step(self, batch: Tensor, _: int) -> Tensor:
        loss = ((self.number - batch) ** 2).mean()
        self.log("train/loss", loss, batch_size=1)
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), 0.1)


def fit(folder: Path, steps: int, every: int, ckpt_path: str | None = None, **options: Any) -> tuple[ResultCallback, L.Trainer]:
    callback = ResultCallback()
    trainer = L.Trainer(
        max_steps=steps, accelerator="cpu", logger=CSVLogger(folder, flush_logs_every_n_steps=1), log_every_n_steps=every,
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False, callbacks=[callback], **options,
    )  # fmt: skip
    trainer.fit(_Line(), torch.utils.data.DataLoader(torch.arange(24.0)), ckpt_path=ckpt_path)
    return callback, trainer


def logged(trainer: L.Trainer) -> list[tuple[int, float]]:
    with (Path(str(trainer.log_dir)) / "metrics.csv").open() as file:
        return [(int(row["step"]), float(row["train/loss"])) for row in csv.DictReader(file)]


def test_the_losses_are_those_that_loggers_have(tmp_path: Path) -> None:
    for accumulated in (1, 2):
        callback, trainer = fit(tmp_path, 8, 3, accumulate_grad_batches=accumulated)
        steps, losses = zip(*callback.training.losses, strict=True)
        expected = logged(trainer)
        assert list(steps) == [step for step, _ in expected] == [2, 5]
        assert np.allclose(losses, [loss for _, loss in expected], rtol=1e-6)
        assert callback.training.steps == 8 and callback.training.seconds > 0


def test_a_resumed_training_has_the_whole_curve(tmp_path: Path) -> None:
    whole, _ = fit(tmp_path / "whole", 8, 1)
    part, trainer = fit(tmp_path / "part", 5, 1)
    assert len(part.training.losses) == 5
    trainer.save_checkpoint(tmp_path / "last.ckpt")
    resumed, _ = fit(tmp_path / "resumed", 8, 1, ckpt_path=str(tmp_path / "last.ckpt"))
    assert [step for step, _ in resumed.training.losses] == list(range(8)) and resumed.training.losses[:5] == whole.training.losses[:5]


def test_it_survives_the_cache() -> None:
    training = Training(7, 1.5, [(2, 0.25), (5, 0.1)])
    assert Training.from_tensors({"qk": torch.ones(2), **training.to_tensors()}) == training
    assert Training.from_tensors(Training().to_tensors()) == Training()


def test_a_long_curve_is_thinned_for_the_result() -> None:
    short = Training(losses=[(step, 1.0 / (step + 1)) for step in range(POINTS)])
    assert short.curve() == {"steps": list(range(POINTS)), "values": [loss for _, loss in short.losses]}
    curve = Training(losses=[(step, float(step)) for step in range(10 * POINTS)]).curve()
    assert len(curve["steps"]) == POINTS and curve["values"][:2] == [4.5, 14.5] and curve["steps"] == curve["values"]
