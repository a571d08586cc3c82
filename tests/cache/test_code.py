"""The code of a step: what belongs to it, and which edits change its hash."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from motion_ablation.cache import code as steps
from motion_ablation.metrics import METRICS
from motion_ablation.motion.adapters import APPEARANCES
from motion_ablation.motion.integrations import INTEGRATIONS

Edit = Callable[[str, Callable[[str], str]], None]


def _forget() -> None:
    for cached in (steps._digest, steps._tree, steps._imported):
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


def grown(text: str) -> str:
    return f"{text}\nMORE = 1\n"


def rooms(step: str, *entries: object) -> set[str]:
    roots = {f"{steps.PACKAGE}.{name}" for name in steps.STEPS[step]} | {entry.__module__ for entry in entries}
    return {module.removeprefix(f"{steps.PACKAGE}.") for module in steps.closure(frozenset(roots))}


def test_a_step_starts_from_modules_that_exist() -> None:
    for names in steps.STEPS.values():
        assert all(steps.source_of(f"{steps.PACKAGE}.{name}") for name in names)
    assert all(steps.source_of(module) for module in steps.APART)


def test_a_step_has_the_modules_that_it_imports_and_no_others() -> None:
    trained = rooms("embedding", INTEGRATIONS["add"])
    assert {"module", "motion.embeddings", "backbones.base", "data.video", "motion.integrations.add"} <= trained
    assert not [room for room in trained if room.split(".")[0] in ("metrics", "callbacks", "study", "pretrain")]
    assert {room for room in trained if room.startswith("motion.integrations.")} == {f"motion.integrations.{x}" for x in ("add", "base")}
    assert "motion.integrations.film" not in trained
    assert rooms("latents") == {"backbones.base", "records"}
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
    edit(module, grown)
    assert {step for step, version in versions().items() if version != before[step]} == changed


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
