"""The repository itself: version, shipped files, what is tracked; and that tests cannot reach a network."""

from __future__ import annotations

import glob
import os
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


def test_the_wheel_holds_every_file_of_the_package() -> None:
    package = ROOT / "motion_ablation"
    patterns = PROJECT["tool"]["setuptools"]["package-data"]["motion_ablation"]
    shipped = {path for pattern in patterns for path in glob.glob(pattern, root_dir=package, recursive=True)}
    files = {path for path in glob.glob("**", root_dir=package, recursive=True) if (package / path).is_file()}
    assert {path for path in files - shipped if not path.endswith((".py", ".pyc"))} == set()


def test_links_of_the_documentation_work_where_it_is_installed() -> None:
    folder = (ROOT / "docs").resolve()
    for page in folder.rglob("*.md"):
        for link in re.findall(r"\]\(([^)#\s]+)", page.read_text(encoding="utf-8")):
            target = (page.parent / link).resolve()
            assert "://" in link or (target.is_relative_to(folder) and target.suffix in (".md", ".png") and target.is_file()), (page, link)


@pytest.mark.slow
def test_a_wheel_is_whole(tmp_path: Path) -> None:
    """Built, installed, and used in a folder where there is no checkout."""
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    source, elsewhere = tmp_path / "source", tmp_path / "elsewhere"
    elsewhere.mkdir()
    shutil.copytree(ROOT, source, symlinks=True, ignore=shutil.ignore_patterns(".*", "results", "runs", "cache", "build", "*.egg-info"))
    subprocess.run([*pip, "wheel", str(source), "--no-deps", "--no-build-isolation", "-w", str(tmp_path)], check=True)
    (wheel,) = tmp_path.glob("*.whl")
    subprocess.run([*pip, "install", str(wheel), "--no-deps", "--target", str(tmp_path / "installed")], check=True)
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "installed")}

    def told(*arguments: str) -> str:
        command = [sys.executable, "-m", "motion_ablation.cli.studies", *arguments]
        return subprocess.run(command, cwd=elsewhere, env=environment, capture_output=True, text=True, check=True).stdout

    assert f"documentation: {tmp_path / 'installed' / 'motion_ablation' / 'docs'}" in told("--help")
    assert "integration_concat" in told("show", "integration") and "mqk_partial" in told("list")
    told(
        "fit",
        "--config",
        "mqk_partial",
        "--trainer.fast_dev_run=true",
        "--data.frames=4",
        "--data.size=32",
        "--data.prompts=['a red star']",
    )
