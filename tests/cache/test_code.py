"""The code of a step: what belongs to it, and which edits change its hash."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path

import pytest

from motion_ablation.cache import code as steps
from motion_ablation.metrics import METRICS
from motion_ablation.motion.adapters import APPEARANCES
from motion_ablation.motion.integrations import INTEGRATIONS

Edit = Callable[[str, Callable[[str], str]], None]


def _forget() -> None:
    for cached in (steps._digest, steps._parsed, steps._used):
        cached.cache_clear()


@pytest.fixture
def edit(monkeypatch: pytest.MonkeyPatch) -> Iterator[Edit]:
    """Edits a module's text as the hashes see it: ``edit("metrics.base", lambda text: ...)``."""
    edits: dict[str, Callable[[str], str]] = {}
    original = steps.source_of

    def source_of(module: str) -> str:
        return edits.get(module, str)(original(module))

    monkeypatch.setattr(steps, "source_of", source_of)

    def apply(module: str, change: Callable[[str], str]) -> None:
        edits[f"{steps.PACKAGE}.{module}"] = change
        _forget()

    _forget()
    yield apply
    _forget()


def edited(text: str) -> str:
    """Another body of everything that a module defines."""
    tree = ast.parse(text)
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            node.body.append(ast.Expr(ast.Constant(0)))
    return ast.unparse(tree)


def edited_only(*names: str) -> Callable[[str], str]:
    """Another body of these definitions of a module."""

    def edit(text: str) -> str:
        tree = ast.parse(text)
        for node in tree.body:
            if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name in names:
                node.body.append(ast.Expr(ast.Constant(0)))
        assert ast.unparse(tree) != ast.unparse(ast.parse(text)), f"{names} are not there"
        return ast.unparse(tree)

    return edit


def rooms(step: str, *entries: object) -> set[str]:
    return {
        symbol.module.removeprefix(f"{steps.PACKAGE}.")
        for symbol in steps.closure(steps.roots_of(step, *entries), steps.LATER.get(step, ()))
    }


def test_a_step_starts_from_modules_that_exist() -> None:
    for names in steps.STEPS.values():
        assert all(steps.source_of(f"{steps.PACKAGE}.{name}") for name in names)
    assert all(steps.source_of(module) for module in steps.APART.union(*steps.LATER.values()))


def test_a_step_has_the_modules_that_it_imports_and_no_others() -> None:
    trained = rooms("embedding", INTEGRATIONS["add"])
    assert {"module", "motion.embeddings", "backbones.base", "data.video", "motion.integrations.add"} <= trained
    assert not [room for room in trained if room.split(".")[0] in ("metrics", "callbacks", "study", "pretrain")]
    assert {room for room in trained if room.startswith("motion.integrations.")} == {f"motion.integrations.{x}" for x in ("add", "base")}
    assert "motion.integrations.film" not in trained
    assert rooms("latents") == {"backbones.base", "backbones.diffusion.base", "records"}
    assert "motion.adapters.lora" in rooms("embedding", APPEARANCES["spatial_lora"]) and "motion.adapters.lora" not in trained
    assert "training" in trained and "training" not in rooms("video")
    assert {"metrics.text_similarity", "metrics.networks.encoders"} <= rooms("score", METRICS["text_similarity"])


@pytest.mark.parametrize(
    ("module", "changed"),
    [
        ("metrics.text_similarity", {"score"}),
        ("metrics.base", {"score", "result"}),
        ("callbacks.evaluation", {"result"}),
        ("motion.integrations.add", {"embedding", "video", "result"}),
        ("backbones.base", {"latents", "inverted", "embedding", "video", "result"}),
        ("training", {"embedding", "result"}),
        ("generating", {"video", "result"}),
        ("motion.integrations.film", set()),
        ("motion.integrations", set()),
        ("study.run.runner", set()),
        ("pretrain.clip", set()),
        ("cache.artefacts", set()),
    ],
)
def test_an_edit_reaches_the_steps_that_depend_on_it(edit: Edit, module: str, changed: set[str]) -> None:
    entries = {step: [INTEGRATIONS["add"]] if step in ("embedding", "video", "result") else [] for step in steps.STEPS}
    entries["score"] = [METRICS["text_similarity"]]

    def versions() -> dict[str, str]:
        return {step: steps.code_of(step, *entries[step]) for step in steps.STEPS}

    before = versions()
    edit(module, edited)
    assert {step for step, version in versions().items() if version != before[step]} == changed


@pytest.mark.parametrize(
    ("module", "names", "stale"),
    [
        ("data.writing", ["write_gif", "save_gif"], {"result"}),  # only shows
        ("callbacks.videos", ["labelled", "side_by_side"], {"result"}),
        ("data.writing", ["_pixels"], {"embedding", "result"}),  # the built-in references are written by it
        ("data.video", ["_read_file"], {"embedding", "result"}),  # what a reference's frames are
        ("data.video", ["shape_of"], set()),
        ("motion.released", ["write_released"], set()),
        ("metrics.networks.preprocessing", ["Preprocessing"], {"score"}),
    ],
)
def test_what_only_shows_makes_no_embedding_stale(edit: Edit, module: str, names: list[str], stale: set[str]) -> None:
    entries: dict[str, list[object]] = {"score": [METRICS["text_similarity"]]}
    before = {step: steps.code_of(step, *entries.get(step, [])) for step in steps.STEPS}
    edit(module, edited_only(*names))
    assert {step for step, code in before.items() if steps.code_of(step, *entries.get(step, [])) != code} == stale


def test_what_is_added_and_used_by_nothing_changes_nothing(edit: Edit) -> None:
    before = {step: steps.code_of(step) for step in steps.STEPS}
    for module in ("data.video", "backbones.folder", "metrics.networks.encoders"):
        edit(module, lambda text: f"{text}\ndef more() -> int:\n    return 1\n")
    assert {step: steps.code_of(step) for step in steps.STEPS} == before


def test_a_constant_a_base_and_a_helper_count_where_they_are_used(edit: Edit) -> None:
    def versions() -> list[str]:
        return [steps.code_of("score", METRICS[name]) for name in ("text_similarity", "fid")]

    before = versions()
    edit("metrics.networks.preprocessing", lambda text: re.sub(r"BATCH = \d+", "BATCH = 7", text))
    constant = versions()
    assert constant[0] != before[0]
    edit("metrics.set_distance", edited)
    assert versions()[0] == constant[0] and versions()[1] != constant[1], "a base class of the one"


def test_an_entry_in_a_further_folder_of_the_package_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from motion_ablation.motion import layouts

    (tmp_path / "strange_layout.py").write_text("def grid() -> None: ...\n")
    monkeypatch.setattr(layouts, "__path__", [*layouts.__path__, str(tmp_path)])
    grid = import_module("motion_ablation.motion.layouts.strange_layout").grid
    try:
        _forget()
        assert "motion.layouts.strange_layout" in rooms("embedding", grid)
        before = steps.code_of("embedding", grid)
        (tmp_path / "strange_layout.py").write_text("def grid() -> int: return 1\n")
        _forget()
        assert steps.code_of("embedding", grid) != before
    finally:
        del sys.modules["motion_ablation.motion.layouts.strange_layout"]
        _forget()


def test_comments_docstrings_and_layout_do_not_count(edit: Edit) -> None:
    before = steps.code_of("latents")
    told = '"""Token features ``(b, n, d)``."""'
    edit("backbones.base", lambda text: "# A comment.\n\n" + text.replace(told, '"""Features\n\n        of tokens."""'))
    assert steps.code_of("latents") == before
    edit("backbones.base", lambda text: text.replace("guidance == 1", "guidance == 2"))
    assert steps.code_of("latents") != before


def test_an_entry_of_another_package_counts_by_its_own_text() -> None:
    def here() -> None: ...

    assert steps.code_of("latents", here) != steps.code_of("latents")
    assert steps.code_of("latents", type("Typed", (), {"__module__": "builtins"})) != "", "no text, no error"
