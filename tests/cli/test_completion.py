"""What the shell is answered when Tab is pressed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("argcomplete", reason="pip install 'motion-ablation[completion]'")


def answered(module: str, line: str, folder: Path) -> set[str]:
    """What argcomplete writes for this line, as bash's completion asks for it."""
    told = folder / "told"
    told.touch()
    asked = {"_ARGCOMPLETE": "1", "_ARGCOMPLETE_IFS": "\n", "_ARGCOMPLETE_STDOUT_FILENAME": str(told), "COMP_LINE": line}
    asked |= {"COMP_POINT": str(len(line)), "COMP_TYPE": "9", "_ARGCOMPLETE_SHELL": "bash"}
    subprocess.run([sys.executable, "-m", f"motion_ablation.cli.{module}"], env=os.environ | asked, cwd=folder, check=True, timeout=120)
    return {word.strip() for word in told.read_text().splitlines()}


def test_commands_options_and_shipped_cards(tmp_path: Path) -> None:
    (tmp_path / "integrated.yaml").touch()
    assert {"run", "show", "report", "list"} <= answered("studies", "motion-ablation ", tmp_path)
    assert answered("studies", "motion-ablation run integr", tmp_path) == {"integration", "integration_more", "integrated.yaml"}
    assert "--references" in answered("studies", "motion-ablation run integration --re", tmp_path)


@pytest.mark.parametrize(("module", "line"), [("studies", "motion-ablation fit"), ("lightning", "lightning fit")])
def test_options_and_shipped_experiments(module: str, line: str, tmp_path: Path) -> None:
    assert {"--model.motion.qk.layout", "--model.motion.qk.shared"} <= answered(module, f"{line} --model.motion.qk.", tmp_path)
    assert answered(module, f"{line} --config zeros", tmp_path) == {"zeroscope"}
    assert "mqk_partial" in answered(module, f"{line} --config mqk", tmp_path)


def test_the_commands_of_lightning(tmp_path: Path) -> None:
    assert {"fit", "validate", "test", "predict"} <= answered("lightning", "lightning ", tmp_path)
