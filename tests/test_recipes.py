"""A stranger's recipe: one new file and one YAML for each axis, in a copy of the package: listed, trained, scored, met by contracts.

The recipe of an integration is the README's, word for word.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[1]

LAYOUT = '''
"""One vector for the whole clip."""

import torch
from torch import Tensor

from motion_ablation.motion.layouts.base import LAYOUTS, Layout, zeros


@LAYOUTS.register("mine_constant")
class Constant(Layout):
    """The same vector in every frame."""

    def __init__(self, site, channels: int) -> None:
        super().__init__(site, channels)
        self.row = zeros(1, 1, channels)

    def forward(self, frames: int, height: int, width: int) -> Tensor:
        return self.row.expand(1, frames, -1)
'''
DEBIAS = '''
"""Half of the paper's debias."""

from torch import Tensor

from motion_ablation.motion.debiases.base import DEBIASES, Debias


@DEBIASES.register("mine_halved")
def halved() -> Debias:
    """Half of the embedding."""

    def half(motion: Tensor) -> Tensor:
        return motion / 2

    return half
'''
OBJECTIVE = '''
"""The absolute error."""

import torch
from torch import Tensor

from motion_ablation.objectives.base import OBJECTIVES, Objective


@OBJECTIVES.register("mine_absolute")
class Absolute(Objective):
    """Mean absolute error."""

    def forward(self, predicted: Tensor, target: Tensor, generator: torch.Generator | None = None) -> Tensor:
        return (predicted.float() - target.float()).abs().mean()
'''
NOISE = '''
"""The reference's noise, backwards."""

from torch import Tensor

from motion_ablation.initial_noise.base import INITIAL_NOISES, InitialNoise


@INITIAL_NOISES.register("mine_backwards")
class Backwards(InitialNoise):
    """The inverted noise with its frames in the other order."""

    needs_inversion = True

    def __call__(self, fresh: Tensor, inverted: Tensor | None) -> Tensor:
        return inverted.flip(2).expand_as(fresh)
'''
ADAPTER = '''
"""A learnt factor on the values."""

from contextlib import contextmanager

import torch
from torch import nn

from motion_ablation.motion.adapters.base import ADAPTERS, Adapter


@ADAPTERS.register("mine_factor")
class Factor(Adapter):
    """Scales the output of the value projection."""

    def __init__(self, channels: int, lr: float | None = None) -> None:
        super().__init__(channels, lr)
        self.factor = nn.Parameter(torch.zeros(channels))

    @contextmanager
    def attached(self, attention: nn.Module):
        hook = attention.to_v.register_forward_hook(lambda module, inputs, output: output * (1 + self.factor.to(output.dtype)))
        try:
            yield
        finally:
            hook.remove()
'''
METRIC = '''
"""Brightness."""

from torch import Tensor

from motion_ablation.metrics.base import METRICS, PerSampleMetric, check_frames


@METRICS.register("mine_brightness")
class Brightness(PerSampleMetric):
    """Mean of all pixels, in [0, 1]; neither end is better."""

    name, reads, range, unit, higher_is_better = "mine_brightness", ("frames",), (0.0, 1.0), "share", None

    @property
    def protocol(self) -> dict[str, object]:
        return {"formula": "mean of all pixels"}

    def score(self, frames: Tensor) -> Tensor:
        return check_frames(frames).mean((1, 2, 3, 4))
'''
BACKBONE = '''
"""The built-in backbone under another name."""

from motion_ablation.backbones.base import BACKBONES
from motion_ablation.backbones.unet3d import UNet3DBackbone


@BACKBONES.register("mine_unet")
class Mine(UNet3DBackbone):
    """diffusers' text-to-video models, once more."""
'''
RECIPES: dict[str, tuple[str, str, dict[str, Any]]] = {
    "ports": ("", "", {"model": {"motion": {"qk": {"ports": ["q"]}, "v": {"ports": ["k", "v"]}}}}),
    "layout": ("motion/layouts/mine.py", LAYOUT, {"model": {"motion": {"qk": {"layout": {"name": "mine_constant"}}}}}),
    "debias": ("motion/debiases/mine.py", DEBIAS, {"model": {"motion": {"v": {"debias": {"name": "mine_halved"}}}}}),
    "objective": ("objectives/mine.py", OBJECTIVE, {"model": {"objective": {"name": "mine_absolute"}}}),
    "noise": ("initial_noise/mine.py", NOISE, {"data": {"noises": ["mine_backwards"]}}),
    "adapter": ("motion/adapters/mine.py", ADAPTER, {"model": {"motion": {"adapter": {"name": "mine_factor"}}}}),
    "metric": ("metrics/mine.py", METRIC, {"evaluation": {"metrics": ["mine_brightness"]}}),
    "backbone": ("backbones/mine.py", BACKBONE, {"model": {"backbone": {"name": "mine_unet"}}}),
}  # fmt: skip
NAMES = {"mine_constant", "mine_halved", "mine_absolute", "mine_backwards", "mine_factor", "mine_brightness", "mine_unet", "scaled"}
CONTRACTS = (
    "tests/motion/test_contracts.py",
    "tests/metrics/test_contract.py",
    "tests/objectives",
    "tests/initial_noise",
    "tests/backbones",
)


def of_the_readme() -> tuple[str, str, dict[str, Any]]:
    """The file and the YAML of "Add an idea"."""
    text = (ROOT / "README.md").read_text(encoding="utf-8").split("## Add an idea")[1]
    (code,) = re.findall(r"```python\n(.*?)```", text, flags=re.S)
    (settings,) = re.findall(r"```yaml\n(.*?)```", text, flags=re.S)
    return code.splitlines()[0].removeprefix("# motion_ablation/"), code, yaml.safe_load(settings)


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the package with every recipe's file in its place."""
    folder = tmp_path_factory.mktemp("stranger")
    shutil.copytree(
        ROOT / "motion_ablation", folder / "motion_ablation", ignore=shutil.ignore_patterns("weights", "__pycache__", "experiments")
    )
    for name in ("motion_ablation/weights", "motion_ablation/experiments"):
        (folder / name).symlink_to(ROOT / name)
    for path, code, _ in [*RECIPES.values(), of_the_readme()]:
        if path:
            (folder / "motion_ablation" / path).write_text(code)
    return folder


SCRIPT = """
import contextlib, io, json, sys
import pytest
from motion_ablation.cli import lightning, studies

def told(call, *arguments):
    text = io.StringIO()
    with contextlib.redirect_stdout(text):
        call(*arguments)
    return text.getvalue()

commands, places = json.loads(sys.argv[1])
listed = told(studies.main, ["list"])
for command in commands:
    lightning.main(command)
collected = told(pytest.main, ["--collect-only", "-q", "-p", "no:cacheprovider", *places])
print(json.dumps({"listed": listed, "collected": collected}))
"""


@pytest.fixture(scope="module")
def done(package: Path, tmp_path_factory: pytest.TempPathFactory, settings_for: Any) -> dict[str, Any]:
    """What ``list`` printed, the results of one training step with each recipe by name, and which contract tests pytest found.

    All in one process with the copy of the package, since importing takes longer than training.
    """
    folder, commands = tmp_path_factory.mktemp("recipes"), []
    for name, (_, _, own) in {**RECIPES, "integration": of_the_readme()}.items():
        base = settings_for(folder / name)
        base["trainer"].update(max_steps=1)
        base.setdefault("evaluation", {})["metrics"] = ["text_similarity"]
        base["data"]["noises"] = ["random"]
        files = [folder / f"{name}-base.yaml", folder / f"{name}.yaml"]
        for file, content in zip(files, (base, own), strict=True):
            file.write_text(yaml.safe_dump(content))
        commands.append(["fit", *(part for file in files for part in ("--config", str(file)))])
    told = subprocess.run(
        [sys.executable, "-c", SCRIPT, json.dumps([commands, [str(ROOT / path) for path in CONTRACTS]])],
        cwd=package,
        env={**os.environ, "PYTHONPATH": str(package)},
        capture_output=True,
        text=True,
    )
    assert told.returncode == 0, told.stdout[-3000:] + told.stderr[-3000:]
    results = {}
    for name in [*RECIPES, "integration"]:
        (result,) = (folder / name).rglob("result.json")
        results[name] = json.loads(result.read_text())
    return {**json.loads(told.stdout.splitlines()[-1]), "results": results}


def test_each_entry_is_listed_with_its_first_sentence(done: dict[str, Any]) -> None:
    listed = done["listed"]
    assert {line.split()[0] for line in listed.splitlines() if line.strip()} >= NAMES
    assert "Mean absolute error" in listed and "The same vector in every frame" in listed


def test_each_trains_and_scores(done: dict[str, Any]) -> None:
    for found in done["results"].values():
        assert found["status"] == "done" and found["steps"] == 1 and found["parameters"]["trainable"] > 0
        assert all(value is not None for value in found["metrics"].values())


def test_contracts_cover_each_on_arrival(done: dict[str, Any]) -> None:
    for name in NAMES:
        assert name in done["collected"], name
