"""A run: one experiment on one reference with one training seed, and where its result is."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import nan
from pathlib import Path
from typing import Any

from motion_ablation.files import read_json


@dataclass(frozen=True)
class Run:
    """One experiment on one reference with one training seed: it trains one embedding, and generates and scores videos with it.

    Attributes:
        experiment, reference: their names.
        folder: where its files are written.
        arguments: the arguments of ``lightning fit`` that would do the same.
        recipe: hash of everything that determines the result: configuration, weights, reference, code.
        trains: whether it has parameters to learn.
        error: why it cannot run; empty if it can.
        config: the whole configuration, fixed when the study was planned, so that later edits of files do not reach the run. Empty for a
            run that was read from ``study.json``.
        backbone: fingerprint of the backbone's weights when the study was planned.
        embedding: hash of everything that determines the trained embedding. Runs with the same hash share one training. Empty if it
            learns nothing.
        train_seed: seeds the training. The seeds of generation are part of ``config``. An experiment that learns nothing runs once per
            reference, with the configuration's ``seed_everything``.
    """

    experiment: str
    reference: str
    folder: Path
    arguments: list[str]
    recipe: str
    trains: bool
    error: str = ""
    config: dict[str, Any] = field(default_factory=dict)
    backbone: str = ""
    embedding: str = ""
    train_seed: int = 0

    @property
    def name(self) -> str:
        """How it is called in progress lines, tables and TensorBoard: the last two parts of its folder."""
        return f"{self.experiment}/{self.folder.name}"

    def result(self) -> dict[str, Any] | None:
        """Its ``result.json``, or None where there is none or it is of another recipe."""
        found = read_result(self.folder)
        return found if found is not None and found.get("recipe") == self.recipe else None

    @property
    def finished(self) -> bool:
        """Whether its result is there and up to date."""
        found = self.result()
        return found is not None and found["status"] == "done"


def folder_of(study: Path, experiment: str, reference: str, train_seed: int | None = None) -> Path:
    """The folder of a run within its study's; ``train_seed`` is None where all runs have the same."""
    return study / experiment / (reference if train_seed is None else f"{reference}-s{train_seed}")


def read_result(folder: Path) -> dict[str, Any] | None:
    """A run's ``result.json``, or None where there is none that can be read. A score that could not be computed is NaN again."""
    try:
        found = read_json(folder / "result.json")
    except (OSError, ValueError):
        return None
    if not isinstance(found, dict) or "status" not in found:
        return None
    for scores in (*found.get("cells", []), found.get("metrics", {})):
        scores.update({name: nan for name, score in scores.items() if score is None})
    return found


def one_line(error: BaseException) -> str:
    """An error as one line: its message, after the name of its type where the message alone would not tell what happened."""
    message = " ".join(str(error).split())
    plain = type(error) in (ValueError, FileNotFoundError) or not message
    return message[:500] if plain and message else f"{type(error).__name__}: {message}"[:500].removesuffix(": ")
