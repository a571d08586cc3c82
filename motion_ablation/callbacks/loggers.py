"""What a run tells its loggers, in each logger's own way: hyper-parameters, videos and tables; scalars are Lightning's.

A logger of another class than those here gets hyper-parameters by Lightning's own call; videos and tables are in the run's folder anyway.
One more kind of logger is one more registered function.
"""

from __future__ import annotations

import csv
import math
from functools import singledispatch
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import CSVLogger, Logger, TensorBoardLogger, WandbLogger
from PIL import Image
from torch.utils.tensorboard.summary import hparams

from motion_ablation.files import replacing
from motion_ablation.initial_noise import INITIAL_NOISES
from motion_ablation.metrics import METRICS


@singledispatch
def log_settings(logger: Logger, settings: dict[str, Any], scores: dict[str, float]) -> None:
    """Tells the hyper-parameters, flat, so that runs can be compared by them, and the scores that they led to (NaN is not known)."""
    logger.log_hyperparams(settings)


@singledispatch
def log_video(logger: Logger, tag: str, gif: Path, words: str, step: int) -> None:
    """Shows a GIF under a tag, with a text that says what it shows."""


@singledispatch
def log_table(logger: Logger, tag: str, rows: list[dict[str, Any]], step: int) -> None:
    """Tells rows of the same columns under a tag."""


@singledispatch
def finish(logger: Logger) -> None:
    """Ends a run, where the next one in this process would go on with it."""


# TensorBoard.


@log_settings.register
def _settings_in_tensorboard(logger: TensorBoardLogger, settings: dict[str, Any], scores: dict[str, float]) -> None:
    known = {f"hp/{name}": value for name, value in scores.items() if not math.isnan(value)}
    logger.log_metrics(known, 0)
    # Every run names the same columns: TensorBoard shows those of the first that it reads.
    columns = [f"hp/{noise}/{metric}" for noise in INITIAL_NOISES for metric in METRICS]
    for summary in hparams(settings, dict.fromkeys([*columns, *known], 0.0)):
        logger.experiment.file_writer.add_summary(summary)


@log_video.register
def _video_in_tensorboard(logger: TensorBoardLogger, tag: str, gif: Path, words: str, step: int) -> None:
    from tensorboard.compat.proto.summary_pb2 import Summary

    with Image.open(gif) as picture:
        width, height = picture.size
    image = Summary.Image(height=height, width=width, colorspace=3, encoded_image_string=gif.read_bytes())  # an image, which plays
    logger.experiment.add_text(tag, words, step)  # opens the event file again, which a logger closes when training ends
    logger.experiment.file_writer.add_summary(Summary(value=[Summary.Value(tag=tag, image=image)]), step)


@log_table.register
def _table_in_tensorboard(logger: TensorBoardLogger, tag: str, rows: list[dict[str, Any]], step: int) -> None:
    header, lines = _cells(rows)
    table = [header, ["---"] * len(header), *lines]
    text = "\n".join("| " + " | ".join(str(cell).replace("|", "\\|") for cell in line) + " |" for line in table)
    logger.experiment.add_text(tag, text, step)


# Weights & Biases.


@log_video.register
def _video_in_wandb(logger: WandbLogger, tag: str, gif: Path, words: str, step: int) -> None:
    logger.log_video(tag, [str(gif)], step=step, caption=[words], format=["gif"])


@log_table.register
def _table_in_wandb(logger: WandbLogger, tag: str, rows: list[dict[str, Any]], step: int) -> None:
    header, lines = _cells(rows)
    logger.log_table(tag, columns=header, data=lines, step=step)


@finish.register
def _finish_wandb(logger: WandbLogger) -> None:
    import wandb

    if wandb.run is not None:  # of this process; a run that failed early has none
        wandb.run.finish()


# CSV.


@log_table.register
def _table_in_csv(logger: CSVLogger, tag: str, rows: list[dict[str, Any]], step: int) -> None:
    header, lines = _cells(rows)
    with replacing(Path(logger.log_dir) / f"{tag}.csv") as part, part.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([header, *lines])


def _cells(rows: list[dict[str, Any]]) -> tuple[list[str], list[list[Any]]]:
    """Header and lines; a score that is not known is None."""
    header = list(rows[0]) if rows else []
    return header, [[None if isinstance(row[name], float) and math.isnan(row[name]) else row[name] for name in header] for row in rows]
