"""Keeping libraries silent while runs are planned or computed."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path

import transformers

CHATTY = (
    "lightning",
    "lightning.pytorch",
    "lightning.fabric",
    "lightning.pytorch.utilities.rank_zero",
    "lightning.fabric.utilities.rank_zero",
)


@contextmanager
def quiet() -> Iterator[None]:
    """Within the block: no warnings, no progress bars of transformers, and only errors of Lightning."""
    loggers = [logging.getLogger(name) for name in CHATTY]
    before = [logger.level for logger in loggers]
    transformers.utils.logging.disable_progress_bar()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            for logger, level in zip(loggers, before, strict=True):
                logger.setLevel(level)


@contextmanager
def logged(path: Path) -> Iterator[None]:
    """Within the block: like :func:`quiet`, and all that is printed, and this package's own warnings, go to a file."""
    with path.open("w", encoding="utf-8") as file, redirect_stdout(file), redirect_stderr(file), quiet():
        logger, handler = logging.getLogger("motion_ablation"), logging.StreamHandler(file)
        logger.addHandler(handler)
        try:
            yield
        finally:
            logger.removeHandler(handler)
