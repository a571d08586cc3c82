"""The tables of the axes' pages are those of the docstrings."""

from __future__ import annotations

from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import pytest

DOCS = Path(__file__).parents[1] / "docs"


@pytest.fixture(scope="module")
def tables() -> ModuleType:
    spec = spec_from_file_location("tables", DOCS / "tables.py")
    assert spec and spec.loader
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_tables_are_up_to_date(tables: ModuleType) -> None:
    pages = {path.name: path.read_text(encoding="utf-8") for path in (DOCS / "axes").glob("*.md")}
    stale = [name for name, text in pages.items() if tables.filled(text) != text]
    assert not stale, "run: make docs"
    found = [place["axis"] for text in pages.values() for place in tables.PLACE.finditer(text)]
    assert sorted(found) == sorted(tables.AXES), "each axis has one table"


def test_an_entry_that_is_new_or_reworded_is_noticed(tables: ModuleType) -> None:
    page = (DOCS / "axes" / "layouts.md").read_text(encoding="utf-8")
    lines = page.splitlines(keepends=True)
    row = next(line for line in lines if line.startswith("| `axial`"))
    for damaged in (page.replace(row, ""), page.replace(row, "| `axial` | something else |\n")):
        assert damaged != page and tables.filled(damaged) == page
