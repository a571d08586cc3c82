"""Misspelt keys of a configuration: found before anything is built, and answered with the keys that are valid there."""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping
from dataclasses import is_dataclass
from difflib import get_close_matches
from importlib import import_module
from typing import Any, get_args, get_type_hints

from motion_ablation.configure.documents import read_yaml

Schema = Mapping[str, Any]
"""Valid keys of one place, each with the class that its value builds, or None where anything goes."""


def check_arguments(arguments: list[str], schema: Schema) -> None:
    """Refuses the first unknown key among the options of a command, and in the files that its ``--config`` names.

    Values are left to the parser, and so is what the schema does not describe, such as the options of a registry entry.

    Raises:
        ValueError: naming the place, the closest valid key and all valid keys.
    """
    options = dict(enumerate(arguments))
    for index, argument in options.items():
        name, equals, value = argument.partition("=")
        if name in ("-c", "--config"):
            _check_file(value if equals else options.get(index + 1, ""), schema)
        elif name.startswith("--"):
            _check_path(name.removeprefix("--").removesuffix("+").split("."), schema)


def constructor_schema(cls: Any) -> Schema | None:
    """Parameters of a constructor, with those classes that are nested configurations; None if it takes any keyword."""
    try:
        parameters = inspect.signature(cls).parameters
    except (TypeError, ValueError):
        return None
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()):
        return None
    try:
        hints = get_type_hints(cls if is_dataclass(cls) else cls.__init__)
    except (TypeError, NameError):
        hints = {}
    return {name: _nested(hints.get(name)) for name in parameters}


def reason(message: str) -> str:
    """The parser's report in one line: the path of the key, down the first type that its value could have had, and what is wrong there."""
    lines = [line.strip().removeprefix("- ") for line in message.splitlines()]
    if "Errors:" not in lines:
        return " ".join(lines)
    path: list[str] = []
    for index, line in enumerate(lines):
        key = re.match(r'Parser key "([^"]+)":$', line)
        if key:
            path.append(key[1])
        elif line and not line.startswith(("Does not validate", "Subtypes:", "Errors:", "Problem with ", "Given value")):
            given = next((rest for rest in lines[index:] if rest.startswith("Given value: ")), "")
            value = "" if "Got value" in line or "NestedArg" in given or "not accepted" in line else f". {given}".rstrip(" .")
            return f"{'.'.join(path)}: {line}{value}" if path else f"{line}{value}"
    return " ".join(lines)


def _nested(hint: Any) -> Any:
    """The dataclass in ``Config`` or ``Config | None``."""
    return next((option for option in (hint, *get_args(hint)) if inspect.isclass(option) and is_dataclass(option)), None)


def _check_file(path: str, schema: Schema) -> None:
    try:
        content = read_yaml(path)
    except OSError:
        return  # the parser itself reports it
    try:
        _check_tree(content, schema, ())
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def _check_path(path: list[str], schema: Schema) -> None:
    """One dotted option, such as ``--model.motion.qk.side``; ``help`` is an option of every place that builds a class."""
    place: Schema | None = schema
    for depth, name in enumerate(path):
        if place is None or name in ("help", "print_config"):
            return
        if name not in place:
            raise _unknown(name, tuple(path[:depth]), place)
        place = constructor_schema(place[name]) if place[name] else None


def _check_tree(content: Any, schema: Schema | None, where: tuple[str, ...]) -> None:
    """The keys of a mapping; a ``class_path``, here or in a list, leads on into that class's ``init_args``."""
    if isinstance(content, list):
        for index, item in enumerate(content):
            if isinstance(item, dict) and "class_path" in item:
                _check_tree(item, None, (*where, str(index)))
    if not isinstance(content, dict):
        return
    if "class_path" in content:
        place = ("class_path", "init_args", "dict_kwargs")
        unknown = [name for name in content if name not in place]
        if unknown:
            raise _unknown(unknown[0], where, dict.fromkeys(place))
        cls = _import(content["class_path"])
        _check_tree(content.get("init_args"), constructor_schema(cls) if cls else None, (*where, "init_args"))
        return
    for name, value in content.items():
        name = str(name).removesuffix("+")  # the parser's way to add to a list
        if schema is not None and name not in schema:
            raise _unknown(name, where, schema)
        nested = schema[name] if schema is not None else None
        listed = isinstance(value, list) or (isinstance(value, dict) and "class_path" in value)
        if nested or listed:
            _check_tree(value, constructor_schema(nested) if nested else None, (*where, name))


def _import(class_path: Any) -> Any:
    module, _, name = str(class_path).rpartition(".")
    try:
        return getattr(import_module(module), name, None)
    except (ImportError, ValueError):
        return None  # a name that the parser resolves, or reports


def _unknown(name: str, where: tuple[str, ...], schema: Schema) -> ValueError:
    close = get_close_matches(name, schema, n=1)
    hint = f" Did you mean '{close[0]}'?" if close else ""
    place = f" in {'.'.join(where)}" if where else ""
    return ValueError(f"unknown key '{name}'{place}.{hint} Choices: {', '.join(sorted(schema))}")
