"""The registry: filing, looking up, refusing."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from motion_ablation.backbones import BACKBONES
from motion_ablation.initial_noise import INITIAL_NOISES
from motion_ablation.metrics import METRICS
from motion_ablation.motion.adapters import ADAPTERS
from motion_ablation.motion.debiases import DEBIASES
from motion_ablation.motion.integrations import INTEGRATIONS
from motion_ablation.motion.layouts import LAYOUTS
from motion_ablation.objectives import OBJECTIVES
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
    registry: Registry[type] = Registry("integration", package="motion_ablation.registry")
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


def test_a_form_that_is_no_entry_is_refused_with_its_place(registry: Registry[type]) -> None:
    assert registry.parse("add", "here") == registry.parse({"name": "add"}, "here") == ("add", {})
    spec = {"name": "add", "scale": 2.0}
    assert registry.parse(spec, "here") == ("add", {"scale": 2.0}) and spec == {"name": "add", "scale": 2.0}
    for wrong in (3, None, ["add"], {"scale": 2.0}, {"name": None}):
        with pytest.raises(ValueError, match=r"^here: give a integration as \{name: \.\.\.\}\. Choices: add, multiply$"):
            registry.parse(wrong, "here")
    with pytest.raises(ValueError, match="^here: unknown integration 'ad'. Did you mean 'add'"):
        registry.parse("ad", "here")
    with pytest.raises(ValueError, match="^here: integration 'add' has no option 'scael'"):
        registry.parse({"name": "add", "scael": 1}, "here")


@pytest.fixture
def axis(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Path, Registry[type]]]:
    """A package without a line of imports, and a registry of its entries."""
    package = tmp_path / "strange_axis"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "base.py").write_text(
        "from motion_ablation.registry import Registry\n"
        "AXIS: Registry[type] = Registry('axis', package='strange_axis')\n"
    )  # fmt: skip
    (package / "integer.py").write_text("from strange_axis.base import AXIS\nAXIS.register('integer')(int)\n")
    monkeypatch.syspath_prepend(tmp_path)
    try:
        yield package, import_module("strange_axis.base").AXIS
    finally:
        for name in [name for name in sys.modules if name.split(".")[0] == "strange_axis"]:
            del sys.modules[name]


def test_entries_are_found_at_the_first_look_up(axis: tuple[Path, Registry[type]]) -> None:
    package, registry = axis
    (package / "text.py").write_text("from strange_axis.base import AXIS\nAXIS.register('text')(str)\n")
    assert "strange_axis.integer" not in sys.modules
    assert registry.names() == ["integer", "text"] and registry["text"] is str
    assert "strange_axis.text" in sys.modules


def test_two_files_cannot_take_one_name(axis: tuple[Path, Registry[type]]) -> None:
    package, registry = axis
    (package / "other.py").write_text("from strange_axis.base import AXIS\nAXIS.register('integer')(float)\n")
    for _ in range(2):
        with pytest.raises(ValueError, match="axis 'integer' is registered twice: .*int.* and .*float"):
            registry.names()


def test_a_file_that_cannot_be_imported_is_told_at_every_look_up(axis: tuple[Path, Registry[type]]) -> None:
    package, registry = axis
    (package / "broken.py").write_text("import nothing_of_that_name\n")
    for _ in range(2):
        with pytest.raises(ModuleNotFoundError, match="nothing_of_that_name"):
            registry["integer"]


AXES: list[Registry[Any]] = [ADAPTERS, BACKBONES, DEBIASES, INITIAL_NOISES, INTEGRATIONS, LAYOUTS, METRICS, OBJECTIVES]


@pytest.mark.parametrize("registry", AXES, ids=lambda registry: registry.axis)
def test_an_entry_is_in_the_file_of_its_name(registry: Registry[Any]) -> None:
    files = {name: registry[name].__module__.rpartition(".")[2] for name in registry}
    assert files == {name: name for name in registry} and len(files) > 1
