"""Studies on a random backbone: seconds per run."""

from __future__ import annotations

import shutil
import zlib
from collections.abc import Callable, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from torch import Tensor

from motion_ablation.callbacks import save_frames
from motion_ablation.files import write_json
from motion_ablation.metrics import METRICS as METRIC_REGISTRY
from motion_ablation.records import Clip, Sample
from motion_ablation.study.plan.cards import Card
from motion_ablation.study.plan.run import Run
from motion_ablation.study.plan.study import Study
from motion_ablation.study.run.execute import save_reference

ROOT = Path(__file__).parents[2]
METRICS = ["text_similarity", "motion_fidelity", "temporal_consistency", "fid"]


@pytest.fixture(scope="session")
def quick_config(tmp_path_factory: pytest.TempPathFactory, tiny_backbone: Path, tiny_clip: Path) -> Path:
    """A file for ``--config`` with which any experiment runs in about a second."""
    folder = tmp_path_factory.mktemp("quick")
    settings = {
        "model": {
            "backbone": {"source": str(tiny_backbone)},
            "sampling": {"steps": 2, "inversion_steps": 2},
            "cache": str(folder / "cache"),
        },
        "data": {
            "references": ["builtin:orbit"], "frames": 4, "size": 16, "prompts": ["a red triangle on a blue background", "a blue cross"],
            "seeds": [0, 1], "videos": None, "steps_per_epoch": 2, "cache": str(folder / "references"),
        },
        "trainer": {"accelerator": "cpu", "max_steps": 3, "log_every_n_steps": 1},
        "evaluation": {"encoder": str(tiny_clip)},
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


def moving_square(direction: tuple[int, int], seed: int, frames: int = 6, size: int = 32) -> Tensor:
    """A textured square on a textured ground, moved by ``direction`` (down, right) pixels a frame: ``(f, 3, h, w)`` in ``[0, 1]``."""
    generator = torch.Generator().manual_seed(seed)
    ground, square = 0.4 * torch.rand(3, size, size, generator=generator), 0.6 + 0.4 * torch.rand(3, 10, 10, generator=generator)
    video = ground.repeat(frames, 1, 1, 1)
    for index in range(frames):
        top, left = ((size - 10) // 2 + round((index - frames / 2) * step) for step in direction)
        video[index, :, top : top + 10, left : left + 10] = square
    return (video * 255).round() / 255


@pytest.fixture
def kept_study(tiny_clip: Path, study_maker: Any) -> Any:
    """Makes a study whose videos are kept and whose scores are those of the videos, without generating any.

    References move in directions of their own; the videos of ``baseline`` and ``other`` follow them, those of ``no_motion`` stand still.
    """
    options = {"text_similarity": {"encoder": str(tiny_clip)}, "motion_fidelity": {}, "fid": {"features": str(tiny_clip)}}
    directions = {"a": (0, 2), "b": (2, 0), "c": (0, -2)}

    def make(folder: Path, references: Sequence[str] = "ab", protocol: dict[str, str] | None = None, **changes: Any) -> Study:
        names = list(options)
        study: Study = study_maker(folder, lambda *where: 0.0, references=references, metrics=names[:2], sets=names[2:], **changes)
        for run in study.runs:
            clip = Clip(moving_square(directions[run.reference], ord(run.reference)), 8.0, "", run.reference)
            follows = (0, 0) if run.experiment == "no_motion" else directions[run.reference]
            result = run.result()
            assert result is not None
            samples = []
            for index, cell in enumerate(result["cells"]):
                place = zlib.crc32(f"{run.experiment} {run.train_seed} {index}".encode())
                samples.append(Sample(moving_square(follows, place), clip, cell["prompt"], cell["seed"], cell["noise"]))
                save_frames(run.folder / "frames", samples[-1])
            save_reference(run, clip)
            result["protocols"] = {}
            for name in names:
                metric = METRIC_REGISTRY.build(name, **options[name])
                scores = metric.update_samples(samples)
                for cell, score in zip(result["cells"], scores or [], strict=False):
                    cell[name] = score
                result["metrics"][f"{samples[0].noise}/{name}"] = float(metric.compute())
                result["protocols"][name] = {**metric.protocol, **(protocol or {})}
            write_json(run.folder / "result.json", result)
            given = [{"name": name, **own} for name, own in options.items()]
            (run.folder / "config.yaml").write_text(yaml.safe_dump({"evaluation": {"metrics": given}}))
        return study

    return make


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
