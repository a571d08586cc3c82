"""Misspelt keys: found at every level, in options and in files, and answered with the valid ones."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from jsonargparse import ArgumentError

from motion_ablation.configure.keys import check_arguments, constructor_schema, reason
from motion_ablation.configure.parse import make_cli


@dataclass
class Inner:
    """A nested configuration."""

    side: str = "inputs"
    options: dict[str, Any] = field(default_factory=dict)


class Outer:
    """What a command builds."""

    def __init__(self, inner: Inner = Inner(), other: Inner | None = None, size: int = 1) -> None: ...  # noqa: B008


class Anything:
    """Takes any keyword."""

    def __init__(self, **kwargs: Any) -> None: ...


SCHEMA = {"model": Outer, "trainer": None, "seed": None}


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("--modle.inner.side=x", r"^unknown key 'modle'. Did you mean 'model'\? Choices: model, seed, trainer$"),
        ("--model.iner.side", r"^unknown key 'iner' in model. Did you mean 'inner'\? Choices: inner, other, size$"),
        ("--model.inner.sied=x", r"^unknown key 'sied' in model.inner. Did you mean 'side'\? Choices: options, side$"),
        ("--model.other.zzz", r"^unknown key 'zzz' in model.other. Choices: options, side$"),
    ],
)
def test_an_option_is_refused(option: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check_arguments(["fit", "--seed", "3", option, "x"], SCHEMA)


@pytest.mark.parametrize(
    "arguments",
    [
        ["fit", "--model.inner.side", "x", "--model.inner.options.any.thing=3", "--trainer.whatever", "-1"],
        ["fit", "--model.inner.options+={a: 1}", "--help", "--print_config=skip_null", "--trainer.help", "Class"],
        ["fit", "--config", "no/such/file.yaml"],
        ["fit", "--config"],
        [],
    ],
)
def test_what_is_valid_or_not_ours_to_judge_passes(arguments: list[str]) -> None:
    check_arguments(arguments, SCHEMA)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("modle: {}", "unknown key 'modle'. Did you mean 'model'"),
        ("model: {inner: {sied: x}}", "unknown key 'sied' in model.inner. Did you mean 'side'"),
        ("model: {inner: {1: x}}", "unknown key '1' in model.inner"),
        (
            "trainer: [{class_path: fractions.Fraction, init_args: {numeratr: 1}}]",
            "unknown key 'numeratr' in trainer.0.init_args. Did you mean",
        ),
        ("trainer: {class_path: fractions.Fraction, init_arg: {}}", "unknown key 'init_arg' in trainer. Did you mean 'init_args'"),
    ],
)
@pytest.mark.parametrize("form", ["--config {}", "--config={}", "-c {}"])
def test_a_file_is_refused(tmp_path: Path, text: str, message: str, form: str) -> None:
    path = tmp_path / "x.yaml"
    path.write_text(text)
    with pytest.raises(ValueError, match=f"^{path}: {message}"):
        check_arguments(["fit", *form.format(path).split()], SCHEMA)


@pytest.mark.parametrize(
    "text",
    ["model:", "model: {inner: null}", "model: {inner: {options: {any: 1}}}", "trainer: {class_path: no.such.Class}"],
)
def test_a_file_passes(tmp_path: Path, text: str) -> None:
    path = tmp_path / "x.yaml"
    path.write_text(text)
    check_arguments(["--config", str(path)], SCHEMA)


@pytest.mark.parametrize(("text", "message"), [("", ": is empty"), ("- a list", ": must be a mapping"), ("{", ", line 1: not YAML")])
def test_a_file_that_holds_no_keys_is_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "x.yaml"
    path.write_text(text)
    with pytest.raises(ValueError, match=f"^{path}{message}"):
        check_arguments(["--config", str(path)], SCHEMA)


def test_schema_of_a_constructor() -> None:
    assert constructor_schema(Outer) == {"inner": Inner, "other": Inner, "size": None}
    assert constructor_schema(Anything) is None


def test_the_telling_line_of_a_report() -> None:
    assert reason("no folder 'x'") == "no folder 'x'"
    tree = (
        'Parser key "a.b":\n  Does not validate against any of the Union subtypes\n  Errors:\n    - Does not validate against that\n'
        "    - Problem with X:\n        Option 'y' is not accepted\n    - Expected a <class 'NoneType'>\n  Given value: 3"
    )
    assert reason(tree) == "a.b: Option 'y' is not accepted"


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("qk.layout", "per_frame", "model.motion.qk.layout: Expected a <class 'dict'>. Got value: per_frame"),
        ("qk.ports", "q", "model.motion.qk.ports: Expected a <class 'list'>. Got value: q"),
        ("adapter", "temporal_lora", "model.motion.adapter: Expected a <class 'dict'>. Given value: temporal_lora"),
    ],
)
def test_a_wrong_type_deep_in_the_configuration_is_told_with_its_place(key: str, value: str, message: str) -> None:
    with pytest.raises(ArgumentError) as error:
        make_cli(["fit", f"--model.motion.{key}", value])
    assert reason(str(error.value)) == message
