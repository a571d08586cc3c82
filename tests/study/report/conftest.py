"""A study as its runs would have left it: results, frames and configurations, without running anything."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from motion_ablation.callbacks import cell_stem
from motion_ablation.configure.parse import resolve
from motion_ablation.files import write_json
from motion_ablation.study.plan.cards import Card
from motion_ablation.study.plan.run import Run
from motion_ablation.study.plan.study import Study
from motion_ablation.study.report.write import write_report
from motion_ablation.study.run.quiet import quiet

NASTY = '<script>alert("x")</script> & 50% of {it}_ for $ {5 $'
PROMPTS = (NASTY, "a blue cross")
SEEDS = (0, 1)
NOISES = ("blend", "random")
METRICS = ["text_similarity", "motion_fidelity"]
# How far each experiment is from the baseline, on every reference.
SHIFTS = {"no_motion": 0.3, "baseline": 0.0, "finer": 0.2, "coarser": -0.2, "wavering": 0.0}
FRAMES, SIZE = 5, 16


def fake_study(folder: Path, references: tuple[str, ...] = ("a", "b", "c"), done: bool = True) -> Study:
    """``finer`` is better in text similarity and ``coarser`` worse, ``wavering`` neither; ``same`` is the baseline; ``broken`` failed."""
    replacements = ["finer", "coarser", "wavering", "same", "broken"]
    card = Card(f"Card {NASTY}", "part", "REPLACE", "why", "baseline", replacements, METRICS, folder / "my_card.yaml")
    study = Study(folder, [card], ["no_motion", "baseline", *replacements], list(references), {"same": "baseline"})
    for experiment in [*SHIFTS, "broken"]:
        for number, reference in enumerate(references):
            run = Run(experiment, reference, folder / experiment / reference, [], "r", experiment != "no_motion")
            study.runs.append(run)
            if experiment == "broken":
                write_json(run.folder / "result.json", {"status": "failed", "recipe": "r", "reason": f"ValueError: {NASTY}"})
            elif done:
                _finish(run, number)
    study.save()
    return study


def _finish(run: Run, number: int) -> None:
    random = np.random.default_rng([len(run.experiment), ord(run.experiment[0]), number])
    cells = []
    for noise in NOISES:
        for prompt in PROMPTS:
            for seed in SEEDS:
                jitter = random.normal(0, 0.2 if run.experiment == "wavering" else 0.005)
                cell = {"reference": run.reference, "prompt": prompt, "seed": seed, "noise": noise}
                scores = {"text_similarity": 0.4 + 0.02 * number + SHIFTS[run.experiment] + jitter, "motion_fidelity": 0.5 + jitter}
                cells.append({**cell, **scores})
                _keep(run.folder / "frames" / f"{cell_stem(**cell)}.npz", random)
    _keep(run.folder / "frames" / "reference.npz", random, fps=8.0)
    result: dict[str, Any] = {
        "status": "done", "recipe": "r", "seconds": 10.0, "steps": 30, "backbone": "abc", "cells": cells, "seed": "0",
        "parameters": {"trainable": 1234, "frozen": 9}, "config": {"model": {"backbone": {"source": "shapes"}}},
        "loss": {"steps": [10, 20, 30], "values": [1 / 10, 1 / 20, 1 / 30]} if run.trains else {"steps": [], "values": []},
        "metrics": {}, "versions": {"torch": "9.9"}, "protocols": {"text_similarity": {"network": "CLIP"}},
    }  # fmt: skip
    write_json(run.folder / "result.json", result)
    (run.folder / "config.yaml").write_text(_config(0.15 if run.experiment == "baseline" else 0.5))


def _keep(path: Path, random: np.random.Generator, **more: float) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(path, frames=random.integers(0, 256, (FRAMES, SIZE, SIZE, 3), dtype=np.uint8), **more)


@cache
def _config(rate: float) -> str:
    with quiet():
        return yaml.safe_dump(resolve([f"--model.optimizer.lr={rate}"]), sort_keys=False)


@pytest.fixture(scope="session")
def fake() -> Any:
    """:func:`fake_study`."""
    return fake_study


@pytest.fixture(scope="session")
def reported(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A faked study whose report is written."""
    study = fake_study(tmp_path_factory.mktemp("faked"))
    write_report(study)
    return study
