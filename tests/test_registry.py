"""The registry: filing, looking up, refusing."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from motion_ablation.registry import Registry, UnknownName


class Add:
    """Adds the embedding.

    A second paragraph that a list of entries does not show.
    """

    def __init__(self, scale: float = 1.0) -> None:
        if scale < 0:
            raise TypeError("scale is negative")
        self.scale = scale


@pytest.fixture
def registry() -> Registry[type]:
    registry: Registry[type] = Registry("integration", package="motion_ablation")
    registry.register("add")(Add)
    registry.register("multiply")(type("Multiply", (), {"__doc__": None}))
    return registry


def test_decorator_files_the_entry_and_returns_it_unchanged(registry: Registry[type]) -> None:
    @registry.register("concat")
    class Concat:
        """Concatenates."""

    assert registry["concat"] is Concat
    assert Concat.__name__ == "Concat"


def test_names_are_sorted(registry: Registry[type]) -> None:
    assert registry.names() == list(registry) == ["add", "multiply"]
    assert "add" in registry
    assert "ad" not in registry


def test_a_name_is_taken_once(registry: Registry[type]) -> None:
    with pytest.raises(ValueError, match="integration 'add' is registered twice"):
        registry.register("add")(int)
    assert registry["add"] is Add


def test_unknown_name_suggests_and_lists_the_choices(registry: Registry[type]) -> None:
    expected = "unknown integration 'multipy'. Did you mean 'multiply'? Choices: add, multiply"
    with pytest.raises(UnknownName, match=f"^{re.escape(expected)}$"):
        registry["multipy"]


def test_nothing_is_suggested_when_nothing_is_close(registry: Registry[type]) -> None:
    with pytest.raises(UnknownName, match=r"^unknown integration 'zzz'\. Choices: add, multiply$"):
        registry.build("zzz")


def test_build_passes_options(registry: Registry[type]) -> None:
    assert registry.build("add").scale == 1.0
    assert registry.build("add", scale=2.0).scale == 2.0


def test_unknown_option_lists_the_valid_ones(registry: Registry[type]) -> None:
    with pytest.raises(UnknownName, match=r"integration 'add' has no option 'scael'\. Options: scale"):
        registry.build("add", scael=2.0)


def test_an_entry_that_refuses_is_named(registry: Registry[type]) -> None:
    with pytest.raises(ValueError, match="integration 'add': scale is negative"):
        registry.build("add", scale=-1.0)


def test_describe_is_the_first_line(registry: Registry[type]) -> None:
    assert registry.describe("add") == "Adds the embedding."
    assert registry.describe("multiply") == ""


def test_entries_load_at_the_first_look_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "lazy_axis.py").write_text(
        "from motion_ablation.registry import Registry\n"
        "AXIS: Registry[type] = Registry('axis', package='lazy_entries')\n"
    )  # fmt: skip
    (tmp_path / "lazy_entries.py").write_text("from lazy_axis import AXIS\nAXIS.register('integer')(int)\n")
    monkeypatch.syspath_prepend(tmp_path)
    try:
        from lazy_axis import AXIS  # type: ignore[import-not-found]

        assert "lazy_entries" not in sys.modules
        assert AXIS.names() == ["integer"]
        assert "lazy_entries" in sys.modules
    finally:
        sys.modules.pop("lazy_axis", None)
        sys.modules.pop("lazy_entries", None)
