"""Studies on a random backbone: seconds per run."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import yaml

from motion_ablation.study.cards import Card
from motion_ablation.study.plan import Run, Study, write_json

ROOT = Path(__file__).parents[2]
ENCODER_OPTIONS = {"text_similarity": "encoder", "temporal_consistency": "encoder", "fid": "features"}
METRICS = ["text_similarity", "motion_fidelity", "temporal_consistency", "fid"]


@pytest.fixture(scope="session")
def quick_config(tmp_path_factory: pytest.TempPathFactory, tiny_backbone: Path, tiny_clip: Path) -> Path:
    """A file for ``--config`` with which any experiment runs in about a second."""
    folder = tmp_path_factory.mktemp("quick")
    callbacks: list[dict[str, Any]] = yaml.safe_load((ROOT / "motion_ablation" / "defaults.yaml").read_text())["trainer"]["callbacks"]
    for callback in callbacks:
        metric = callback.get("init_args", {}).get("metric")
        if metric and metric["name"] in ENCODER_OPTIONS:
            metric[ENCODER_OPTIONS[metric["name"]]] = str(tiny_clip)
    settings = {
        "model": {
            "backbone": {"source": str(tiny_backbone)},
            "sampling": {"steps": 2, "inversion_steps": 2},
            "cache": str(folder / "cache"),
        },
        "data": {
            "references": ["builtin:orbit"], "frames": 4, "size": 16, "prompts": ["a red triangle on a blue background", "a blue cross"],
            "seeds": [0, 1], "steps_per_epoch": 2, "cache": str(folder / "references"),
        },
        "trainer": {"accelerator": "cpu", "max_steps": 3, "log_every_n_steps": 1, "callbacks": callbacks},
    }  # fmt: skip
    path = folder / "quick.yaml"
    path.write_text(yaml.safe_dump(settings))
    return path


def write_card(folder: Path, stem: str, replacements: list[str], **changes: Any) -> Path:
    """A card in ``folder/studies``."""
    card = {
        "name": stem.title(), "part": "a part", "action": "REPLACE", "why": "to see", "baseline": "baseline",
        "replacements": replacements, "metrics": METRICS,
    }  # fmt: skip
    path = folder / "studies" / f"{stem}.yaml"
    path.parent.mkdir(exist_ok=True)
    path.write_text("# A hypothesis.\n" + yaml.safe_dump({**card, **changes}))
    return path


@pytest.fixture(scope="session")
def card_maker() -> Any:
    """:func:`write_card`."""
    return write_card


def write_study(
    folder: Path,
    score: Callable[..., float],
    *,
    experiments: Sequence[str] = ("no_motion", "baseline", "other"),
    references: Sequence[str] = ("a", "b", "c"),
    train_seeds: Sequence[int] = (0,),
    prompts: Sequence[str] = ("p", "q"),
    seeds: Sequence[int] = (0, 1),
    noises: Sequence[str] = ("random",),
    metrics: Sequence[str] = ("text_similarity",),
    sets: Sequence[str] = (),
) -> Study:
    """A finished study whose results hold what ``score(experiment, reference, train_seed, prompt, seed, noise, metric)`` returns.

    Args:
        experiments: the floor, the baseline, the replacements. metrics: with a score per video. sets: with one per run.
    """
    card = Card("Card", "part", "REPLACE", "why", "baseline", list(experiments[2:]), [*metrics, *sets], folder / "card.yaml")
    study = Study(folder, [card], list(experiments), list(references), train_seeds=list(train_seeds))
    for experiment, reference, train_seed in product(experiments, references, train_seeds):
        if experiment == "no_motion" and train_seed != train_seeds[0]:
            continue
        place = folder / experiment / f"{reference}-s{train_seed}"
        run = Run(
            experiment, reference, place, [], f"{experiment} {reference} {train_seed}", experiment != "no_motion", train_seed=train_seed
        )
        where = (experiment, reference, train_seed)
        cells = [
            {
                **{"reference": reference, "prompt": prompt, "seed": seed, "noise": noise},
                **{metric: score(*where, prompt, seed, noise, metric) for metric in metrics},
            }
            for noise, prompt, seed in product(noises, prompts, seeds)
        ]
        result = {
            "status": "done", "recipe": run.recipe, "seconds": 10.0, "steps": 400, "backbone": "abc", "cells": cells,
            "parameters": {"trainable": 1234, "frozen": 9}, "config": {"model": {"backbone": {"source": "shapes"}}},
            "metrics": {f"{noise}/{metric}": score(*where, "", None, noise, metric) for noise in noises for metric in sets},
        }  # fmt: skip
        write_json(place / "result.json", result)
        study.runs.append(run)
    return study


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of experiments with two cards; ``exploding`` fails in its second step."""
    folder = tmp_path_factory.mktemp("lab") / "experiments"
    folder.mkdir()
    for name in ("baseline", "integration_add", "mqk_spatial", "no_motion"):
        shutil.copy(ROOT / "experiments" / f"{name}.yaml", folder)
    (folder / "exploding.yaml").write_text("# Far too large a learning rate.\nmodel:\n  optimizer: {lr: 1.0e+30}\n")
    write_card(folder, "first", ["integration_add", "exploding"])
    write_card(folder, "second", ["mqk_spatial"])
    return folder


@pytest.fixture
def study_maker() -> Any:
    """:func:`write_study`."""
    return write_study
