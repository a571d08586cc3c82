"""Configurations as a reader wants them: what an experiment changes, apart from what everything has in common."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from motion_ablation.configure import resolve
from motion_ablation.study.plan import INCIDENTAL, Study

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
    defaults = resolve([])
    found = []
    for experiment in study.experiments:
        owner = study.same_as.get(experiment, experiment)
        runs = [run for run in study.runs if run.experiment == owner]
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


def differences(config: dict[str, Any], defaults: dict[str, Any]) -> list[tuple[str, str, str]]:
    """Key, default and own value, as text, of what differs; what changes no result (paths, progress bars) is left out."""
    own, common = flat(config), flat(defaults)
    changed = [key for key in dict.fromkeys([*common, *own]) if own.get(key, UNSET) != common.get(key, UNSET)]
    return [(key, common.get(key, UNSET), own.get(key, UNSET)) for key in changed if not _incidental(key)]


def flat(config: Any, key: str = "") -> dict[str, str]:
    """Leaves by dotted key, as compact JSON; a list is a leaf, and so is an empty mapping."""
    if not isinstance(config, dict) or not config:
        return {key: json.dumps(config, default=str, ensure_ascii=False)}
    return {name: leaf for part, value in config.items() for name, leaf in flat(value, f"{key}.{part}" if key else str(part)).items()}


def _incidental(key: str) -> bool:
    section, _, rest = key.partition(".")
    return rest.split(".")[0] in INCIDENTAL.get(section, ())
