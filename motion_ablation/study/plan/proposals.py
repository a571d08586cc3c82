"""Ablation plans from outside, in AblationBench's format, as skeletons of cards: what exists is filled in, what is missing is named."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from math import log
from pathlib import Path
from typing import Any

import yaml

from motion_ablation.metrics import METRICS
from motion_ablation.study.plan.cards import ACTIONS, PLAIN, CardError, experiments_in, first_comment

STEM = 5
"""Words are the same that share so many first letters, or all of the shorter one: ``add`` and ``addition``."""
LIKE = 0.5
"""An experiment stands for a replacement if it shares this part of what the replacement's words weigh."""
REMOVING = ("without ", "no ")
"""How the hypothesis of an experiment begins that leaves something out."""
FILLER = {"the", "and", "with", "from", "into", "using", "use", "both", "for", "how", "embeddings", "embedding", "instead", "between"}


@dataclass(frozen=True)
class Proposal:
    """One ablation of a plan, in AblationBench's words.

    Attributes:
        name, part: texts. action: ``REMOVE``, ``REPLACE`` or ``ADD``. replacements, metrics: texts; none replaces a part that is removed.
    """

    name: str
    part: str
    action: str
    replacements: list[str] = field(default_factory=list)
    metrics: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Skeleton:
    """A card as far as a plan gives it.

    Attributes:
        card: its keys. missing: replacements for which no experiment is known, in the plan's words. unknown: metrics that are not ours.
    """

    card: dict[str, Any]
    missing: list[str]
    unknown: list[str]

    def to_yaml(self) -> str:
        """The card, with what is missing as comments."""
        notes = [f"# no experiment yet: {text}" for text in self.missing] + [f"# no such metric: {name}" for name in self.unknown]
        return "\n".join([yaml.safe_dump(self.card, sort_keys=False, allow_unicode=True, width=140).strip(), *notes]) + "\n"


def read_plan(path: str | Path) -> list[Proposal]:
    """The ablations of a plan: JSON, JSON Lines, or the Markdown of AblationBench's trajectories (also with JSON lines inside it).

    Raises:
        CardError: naming the file, and the ablation where one lacks a key or has another action.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise CardError(f"{path}: no such plan")
    text = path.read_text(encoding="utf-8-sig")
    found = _json(text) or _markdown(text)
    if not found:
        raise CardError(
            f"{path}: holds no ablations: neither JSON objects with name, ablated_part and action, nor '### NAME' with such items"
        )
    return [_proposal(path, each) for each in found]


def skeleton(proposal: Proposal, folder: Path) -> Skeleton:
    """The card of a proposal, of the experiments of a folder."""
    texts = {name: first_comment(folder / f"{name}.yaml") for name in experiments_in(folder)}
    chosen: list[str] = []
    missing: list[str] = []
    if proposal.replacements:
        for text in proposal.replacements:
            best = closest(text, proposal.part, texts)
            (chosen if best and best not in chosen else missing).append(best if best and best not in chosen else text)
    else:
        words = _words(proposal.part)
        left_out = {name: _left_out(text) for name, text in texts.items() if text.lower().startswith(REMOVING)}
        chosen = [name for name, gone in left_out.items() if name == PLAIN or any(_in(word, gone) for word in words)]
        missing = [] if set(chosen) - {PLAIN} else [f"without {proposal.part}"]
    known = [name for metric in proposal.metrics if (name := re.sub(r"\W+", "_", metric.strip().lower())) in METRICS]
    unknown = [metric for metric in proposal.metrics if re.sub(r"\W+", "_", metric.strip().lower()) not in METRICS]
    card = {"name": proposal.name, "part": proposal.part, "action": proposal.action, "why": "The plan asks no question.",
            "baseline": "baseline", "replacements": chosen, **({"metrics": known} if known else {}), "factors": "train"}  # fmt: skip
    return Skeleton(card, missing, unknown)


def closest(text: str, part: str, experiments: dict[str, str]) -> str:
    """The experiment whose name and hypothesis share most with a replacement; the ablated part decides ties. Empty if none shares enough.

    Args:
        experiments: hypotheses by name. A word weighs more the fewer experiments have it, and counts double in a name.
    """
    own = {name: (_words(name.replace("_", " ")), _words(hypothesis)) for name, hypothesis in experiments.items()}
    wanted, around = _words(text), _words(part)
    weight = {word: log(1 + len(own) / (1 + sum(_in(word, a | b) for a, b in own.values()))) for word in wanted | around}
    total = sum(weight[word] for word in wanted)

    def shared(words: Iterable[str], among: set[str]) -> float:
        return sum(weight[word] for word in words if _in(word, among))

    def rank(name: str) -> tuple[float, int]:
        called, said = own[name]
        return 2 * shared(wanted, called) + shared(wanted, said) + 0.25 * shared(around, called | said), -len(called)

    enough = [name for name, (called, said) in own.items() if total and shared(wanted, called | said) >= LIKE * total]
    return max(enough, key=rank, default="")


def _left_out(hypothesis: str) -> set[str]:
    """What an experiment leaves out: ``Without MV: how much ...``."""
    return _words(re.split(r"[:,(.]", hypothesis)[0].split(" ", 1)[1])


def _words(text: str) -> set[str]:
    return {word for word in re.findall(r"[a-z]{2,}|\d+d", text.lower()) if word not in FILLER and (len(word) > 2 or word in ("mv", "qk"))}


def _in(word: str, among: Iterable[str]) -> bool:
    return any(word[:STEM] == other[:STEM] or word.startswith(other) or other.startswith(word) for other in among)


def _json(text: str) -> list[dict[str, Any]]:
    try:
        whole = json.loads(text)
        rows = whole if isinstance(whole, list) else whole.get("ablations", [whole]) if isinstance(whole, dict) else []
    except json.JSONDecodeError:
        rows = [json.loads(line) for line in text.splitlines() if line.lstrip().startswith("{") and line.rstrip().endswith("}")]
    return [row for row in rows if isinstance(row, dict)]


def _markdown(text: str) -> list[dict[str, Any]]:
    found = []
    for block in re.split(r"^### ", text, flags=re.MULTILINE)[1:]:
        row: dict[str, Any] = {"name": block.splitlines()[0].strip()}
        for key, inline, listed in re.findall(r"^- \*\*([\w ]+)\*\*: *([^\n]*)((?:\n +- [^\n]*)*)", block, flags=re.MULTILINE):
            items = re.findall(r"- ([^\n]*)", listed)
            name = key.strip().lower().replace(" ", "_")
            row[name] = items or (re.split(r", (?![^()]*\))", inline.strip()) if name in ("replacement", "metrics") else inline.strip())
        if len(row) > 1:
            found.append(row)
    return found


def _proposal(path: Path, row: dict[str, Any]) -> Proposal:
    where = f"{path}, '{row.get('name', '')}'"
    for key in ("name", "ablated_part", "action"):
        if not isinstance(row.get(key), str) or not row[key].strip():
            raise CardError(f"{where}: has no {key}")
    action = row["action"].strip().upper()
    if action not in ACTIONS:
        raise CardError(f"{where}: action '{row['action']}' is not one of {', '.join(ACTIONS)}")
    given = row.get("replacement") or row.get("replacements") or []
    lists = [[given] if isinstance(given, str) else given, row.get("metrics") or []]
    if not all(isinstance(each, list) and all(isinstance(item, str) for item in each) for each in lists):
        raise CardError(f"{where}: replacement and metrics must be lists of texts")
    replacements, metrics = ([item.strip() for item in each if item.strip()] for each in lists)
    if action != "REMOVE" and not replacements:
        raise CardError(f"{where}: action {action} needs a replacement")
    return Proposal(row["name"].strip(), row["ablated_part"].strip(), action, replacements, metrics)
