"""The repository itself: version, shipped files, what is tracked; and that tests cannot reach a network."""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
import sys
import tomllib
from itertools import chain
from pathlib import Path

import pytest

import motion_ablation

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
EXPERIMENTS = sorted((ROOT / "experiments").rglob("*.yaml"))
MAX_WEIGHTS = 40_000_000  # bytes


def test_version_matches_pyproject() -> None:
    assert motion_ablation.__version__ == PROJECT["project"]["version"]


def test_importing_the_package_is_cheap() -> None:
    code = "import sys, motion_ablation; print([name for name in ('torch', 'diffusers', 'lightning') if name in sys.modules])"
    loaded = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert loaded.strip() == "[]"


def test_every_dependency_is_pinned() -> None:
    project = PROJECT["project"]
    entries = chain(project["dependencies"], *project["optional-dependencies"].values())
    wanted = {re.split(r"[\[<>=!~ ]", entry)[0].lower() for entry in entries}
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pinned = {line.split("==")[0].lower() for line in lines if not line.startswith("#")}
    assert not wanted - pinned


def test_shipped_weights_are_small() -> None:
    sizes = {path.name: path.stat().st_size for path in (ROOT / "motion_ablation").rglob("*.safetensors")}
    assert sum(sizes.values()) < MAX_WEIGHTS, sizes


@pytest.mark.parametrize("path", EXPERIMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_experiment_opens_with_its_hypothesis(path: Path) -> None:
    first = path.read_text(encoding="utf-8").splitlines()[0]
    assert re.match(r"# \S+", first), f"{path}: the first line is a comment saying what is tried"


def test_no_generated_file_is_tracked() -> None:
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    command = ["git", "ls-files", "--cached", "--ignored", "--exclude-standard"]
    tracked = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert not tracked, f"tracked, although .gitignore calls them generated:\n{tracked}"


def test_tests_have_no_network() -> None:
    with socket.socket() as outside, pytest.raises(RuntimeError, match="without a network"):
        outside.connect(("192.0.2.1", 80))


def test_loopback_is_open() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as client:
        assert client.getpeername() == server.getsockname()
