"""Imports go down only, and siblings do not import each other; see ``ROOMS`` for the order."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = "motion_ablation"
ROOT = Path(__file__).parents[1] / PACKAGE

GROUND = {"registry", "records", "errors", "palette", "files", "weights", "fonts", "tokens"}
SIBLINGS = {"data", "backbones", "motion", "objectives", "initial_noise", "metrics"}

# Each room and the other rooms that it may import. A room is a module or a subpackage of the package; within ``study`` each
# subpackage or module is a room of its own.
ROOMS: dict[str, set[str]] = {
    "": {"motion", "pipelines"},  # the package itself, which offers two names and imports them when they are asked for
    "errors": set(),
    "palette": set(),
    "files": set(),
    "weights": set(),
    "fonts": set(),
    "tokens": set(),
    "registry": set(),
    "records": {"registry"},
    **{room: GROUND for room in SIBLINGS},
    "cache": GROUND | SIBLINGS,
    "latents": GROUND | SIBLINGS | {"cache"},
    "training": GROUND | SIBLINGS | {"latents"},
    "generating": GROUND | SIBLINGS | {"cache", "latents"},
    "module": GROUND | SIBLINGS | {"cache", "latents", "training", "generating"},
    "pipelines": GROUND | {"backbones", "motion"},
    "pretrain": GROUND | {"data", "backbones", "metrics"},
    "evaluation": GROUND | {"data", "metrics", "cache"},
    "callbacks": GROUND | SIBLINGS | {"cache", "evaluation", "module", "pretrain"},
    "configure": GROUND | SIBLINGS | {"module", "pretrain", "callbacks"},
    "study": set(),
    "study.markdown": set(),
    "study.plan": GROUND | SIBLINGS | {"cache", "module", "callbacks", "configure", "study.markdown"},
    "study.finished": GROUND | SIBLINGS | {"callbacks", "study.plan"},
    "study.results": GROUND | {"metrics", "cache", "study.plan", "study.finished"},
    "study.run": GROUND | SIBLINGS | {"cache", "module", "callbacks", "configure", "study.plan"},
    "study.analysis": GROUND | SIBLINGS | {"cache", "evaluation", "study.plan", "study.results", "study.finished"},
    "study.report": GROUND
    | SIBLINGS
    | {"cache", "callbacks", "configure", "study.plan", "study.run", "study.results", "study.finished", "study.analysis", "study.markdown"},
    "cli": GROUND | SIBLINGS | {"module", "pretrain", "callbacks", "configure", "evaluation", "study.plan", "study.run", "study.report"},
}

# Libraries that a room must not know: backbones yield sites, motion consumes them; metrics see finished videos.
FORBIDDEN: dict[str, set[str]] = {"motion": {"diffusers"}, "metrics": {"diffusers"}}


def module_name(path: Path, root: Path = ROOT) -> str:
    """``motion_ablation/data/__init__.py`` → ``motion_ablation.data``."""
    parts = path.relative_to(root.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imported_names(source: str, module: str, is_package: bool = False) -> Iterator[str]:
    """Full dotted name of everything that ``source`` imports, at any depth of the code."""
    package = module.split(".") if is_package else module.split(".")[:-1]
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            prefix = ".".join([*base, *([node.module] if node.module else [])])
            yield from (f"{prefix}.{alias.name}" for alias in node.names)


def room_of(name: str) -> str:
    """The room of a module or of a name in one, without the package's own name; empty for the package itself."""
    parts = [*name.split(".")[1:], ""]
    return f"study.{parts[1]}" if parts[0] == "study" and parts[1] else parts[0]


def violations(source: str, module: str, is_package: bool = False) -> list[str]:
    """What ``source``, as the text of ``module``, imports against the order; empty if all is well."""
    room = room_of(module)
    if room and room not in ROOMS:
        return [f"{module}: room '{room}' has no place in the order; give it one in ROOMS"]
    found = []
    for name in imported_names(source, module, is_package):
        top, other = name.split(".")[0], room_of(name)
        if top in FORBIDDEN.get(room, ()):
            found.append(f"{module} imports {name}: {room} must not know {top}")
        if top == PACKAGE and other and other not in ("__version__", room) and other not in ROOMS.get(room, ()):
            found.append(f"{module} imports {name}: {room or 'the package'} may not import {other}")
    return found


@pytest.mark.parametrize("path", sorted(ROOT.rglob("*.py")), ids=lambda path: module_name(path))
def test_imports_go_down_only(path: Path) -> None:
    assert not violations(path.read_text(encoding="utf-8"), module_name(path), path.name == "__init__.py")


def test_rooms_are_ordered() -> None:
    """The table itself has no cycle, and names only rooms that it holds."""
    placed: set[str] = set()
    while len(placed) < len(ROOMS):
        ready = {room for room, below in ROOMS.items() if below <= placed} - placed
        assert ready, f"a cycle, or an unknown room, among {sorted(set(ROOMS) - placed)}"
        placed |= ready


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("motion_ablation.motion.attach", "import diffusers"),
        ("motion_ablation.metrics.fid", "def f():\n    from diffusers.models import UNet2DModel"),
        ("motion_ablation.motion.attach", "from motion_ablation.backbones.base import Backbone"),
        ("motion_ablation.motion.attach", "from motion_ablation import backbones"),
        ("motion_ablation.motion.layouts.per_frame", "from ...backbones import base"),
        ("motion_ablation.data.video", "import motion_ablation.module"),
        ("motion_ablation.records", "from .data import shapes"),
        ("motion_ablation.registry", "from motion_ablation.records import Clip"),
        ("motion_ablation.pretrain.vae", "from motion_ablation.motion import streams"),
        ("motion_ablation.module", "from motion_ablation.callbacks import SampleVideos"),
        ("motion_ablation.study.run.runner", "from motion_ablation.cli.lightning import main"),
        ("motion_ablation", "from motion_ablation.data import shapes"),
        ("motion_ablation.leftovers", ""),
    ],
)
def test_the_check_can_fail(module: str, source: str) -> None:
    assert len(violations(source, module)) == 1


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("motion_ablation.motion.attach", "from motion_ablation.records import Site\nfrom .streams import Stream\nimport torch"),
        ("motion_ablation.backbones.unet3d", "import diffusers\nfrom motion_ablation import __version__"),
        ("motion_ablation.cli.lightning", "from motion_ablation.study.run import runner\nfrom . import lightning"),
    ],
)
def test_the_check_can_pass(module: str, source: str) -> None:
    assert not violations(source, module)


def test_relative_imports_of_a_package_are_resolved() -> None:
    source = "from . import add\nfrom ..layouts import per_frame\nfrom ...data import shapes"
    names = list(imported_names(source, "motion_ablation.motion.integrations", is_package=True))
    assert names == [
        "motion_ablation.motion.integrations.add",
        "motion_ablation.motion.layouts.per_frame",
        "motion_ablation.data.shapes",
    ]
