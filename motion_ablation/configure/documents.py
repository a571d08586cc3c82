"""Reading YAML files that people write: what YAML itself lets pass in silence is refused here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml


class _Strict(yaml.SafeLoader):
    """Refuses a key that a mapping has twice; plain YAML keeps the last and drops the first."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: dict[str, int] = {}
        for key, _ in node.value:
            line = key.start_mark.line + 1
            if key.tag != "tag:yaml.org,2002:merge" and isinstance(key, yaml.ScalarNode):
                if key.value in seen:
                    raise ValueError(f"line {line}: key '{key.value}' is there twice, first in line {seen[key.value]}; join the two")
                seen[key.value] = line
        found: dict[Any, Any] = super().construct_mapping(node, deep)
        return found


def read_yaml(path: str | Path) -> dict[str, Any]:
    """The mapping that a YAML file holds.

    Raises:
        OSError: where it cannot be opened.
        ValueError: naming file and line: what is no YAML, not UTF-8, empty or no mapping, or holds a key twice.
    """
    try:
        text = Path(path).expanduser().read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise ValueError(f"{path}: is not UTF-8 text; save it as UTF-8") from None
    try:
        found = yaml.load(text, _Strict)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        tab = mark is not None and any("\t" in row for row in text.splitlines()[mark.line : mark.line + 1])
        hint = "; indent with spaces, not tabs" if tab else ""
        raise ValueError(f"{path}{line}: not YAML: {getattr(error, 'problem', None) or error}{hint}") from None
    except ValueError as error:
        raise ValueError(f"{path}, {error}") from None
    if found is None:
        raise ValueError(f"{path}: is empty; write keys and values, such as `model: {{optimizer: {{lr: 0.01}}}}`, or leave the file out")
    if not isinstance(found, dict):
        raise ValueError(f"{path}: must be a mapping of keys to values, not {type(found).__name__}")
    return found
