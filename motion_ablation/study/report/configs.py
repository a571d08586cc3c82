"""Configurations as a reader wants them: what an experiment changes, apart from what everything has in common."""

from __future__ import annotations

import json
from dataclasses import dataclass
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
        files = {run.reference: run.folder / "config.yaml" for run in study.runs_of(experiment)}
        reference = next((name for name, path in files.items() if path.is_file()), "")
        text = files[reference].read_text(encoding="utf-8") if reference else ""
        changes = differences(yaml.safe_load(text), defaults) if text else []
        found.append(Configuration(experiment, reference, study.same_as.get(experiment, ""), changes, text))
    return found


def differences(config: Any, defaults: Any, key: str = "") -> list[tuple[str, str, str]]:
    """Dotted key, default and own value, as compact JSON, of what differs; what changes no result (paths, progress bars) is left out.

    Mappings are compared key by key, lists as a whole.
    """
    section, _, rest = key.partition(".")
    if config == defaults or (rest and rest.split(".")[0] in INCIDENTAL.get(section, ())):
        return []
    if not isinstance(config, dict) or not isinstance(defaults, dict):
        theirs, own = (UNSET if value == UNSET else json.dumps(value, default=str, ensure_ascii=False) for value in (defaults, config))
        return [(key, theirs, own)]
    return [
        change
        for name in dict.fromkeys([*defaults, *config])
        for change in differences(config.get(name, UNSET), defaults.get(name, UNSET), f"{key}.{name}" if key else str(name))
    ]
