"""The page on scale says what its script counts."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.slow
def test_the_cost_of_the_protocol_is_as_counted() -> None:
    page = (ROOT / "docs" / "scale.md").read_text(encoding="utf-8").splitlines()
    counted = subprocess.run([sys.executable, "benchmarks/protocol_cost.py"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    lines = [line for line in counted.splitlines() if line]
    assert len(lines) == 6
    assert [line for line in lines if line not in page] == []
