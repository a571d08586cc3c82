"""Configurations as a reader wants them: what an experiment changes, apart from what everything has in common."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from motion_ablation.cache.addresses import INCIDENTAL
from motion_ablation.configure.parse import resolve
from motion_ablation.study.plan.study import Study
from motion_ablation.study.run.quiet import quiet

UNSET = "(not set)"


@dataclass(frozen=True)
class Configuration:
    """One experiment's.

    Attributes:
        experiment, reference: the run that it was read from; runs of other references differ in paths only. same_as: the experiment that
            resolves to the same, or empty. changes: key, default and own value of all that differs from the defaults. text: all of it,
            as YAML; empty if no run has written it.
    """

    experiment: str
    reference: str
    same_as: str
    changes: list[tuple[str, str, str]]
    text: str


def configurations(study: Study) -> list[Configuration]:
    """The configuration of every experiment, as Lightning wrote it into the first of its runs that has one."""
    with quiet():
        defaults = resolve([])
    found = []
    for experiment in study.experiments:
        runs = study.runs_of(experiment)
        texts = {run.reference: text for run in runs if (text := _read(run.folder / "config.yaml"))}
        reference = next(iter(texts), "")
        text = texts.get(reference, "")
        changes = differences(yaml.safe_load(text), defaults) if text else []
        found.append(Configuration(experiment, reference, study.same_as.get(experiment, ""), changes, text))
    return found


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError:
        return ""


def differences(config: Any, defaults: Any, key: str = "") -> list[tuple[str, str, str]]:
    """Dotted key, default and own value, as compact JSON, of what differs; what changes no result (paths, progress bars) is left out.

    Mappings are compared key by key, lists as a whole.
    """
    if _incidental(key) or config == defaults:
        return []
    if not isinstance(config, dict) or not isinstance(defaults, dict):
        return [(key, _text(defaults), _text(config))]
    keys = dict.fromkeys([*defaults, *config])
    return [
        change
        for name in keys
        for change in differences(config.get(name, UNSET), defaults.get(name, UNSET), f"{key}.{name}" if key else str(name))
    ]


def _text(value: Any) -> str:
    return UNSET if value == UNSET else json.dumps(value, default=str, ensure_ascii=False)


def _incidental(key: str) -> bool:
    section, _, rest = key.partition(".")
    return bool(rest) and rest.split(".")[0] in INCIDENTAL.get(section, ())
