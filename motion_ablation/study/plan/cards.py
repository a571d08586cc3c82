"""Ablation cards: what is ablated, what replaces it, what it is compared with, and by which metrics."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from motion_ablation.configure.documents import read_yaml
from motion_ablation.configure.shipped import FOLDER, find_file
from motion_ablation.metrics import METRICS

ACTIONS = ("REMOVE", "REPLACE", "ADD")
FACTORS = ("train", "generate")
OPTIONAL = ("metrics", "factors", "primary")
PRIMARY = ("motion_fidelity", "direction", "text_similarity")
LISTS = ("replacements", "metrics", "primary")
PLAIN = "no_motion"  # the experiment of the backbone without motion, which every study has


class CardError(ValueError):
    """A card with a mistake; the message names the file, the key and the valid choices."""


@dataclass(frozen=True)
class Card:
    """One ablation: a part of the method, and the runnable experiments that stand in for it.

    Attributes:
        name: the study's title. part: what is ablated. action: ``REMOVE``, ``REPLACE`` or ``ADD``. why: the question.
        baseline, replacements: stems of ``experiments/*.yaml``. metrics: names of registered metrics; none: those by which the
            evaluation of its baseline compares, filled in when a study is planned.
        path: the card's own file, in a folder inside the one of its experiments.
        factors: ``train`` if the replacements learn differently; ``generate`` if they differ in how videos are made only, so that
            all of them use the baseline's trained embedding.
        primary: the few metrics that get verdicts, on random initial noise; all others are exploratory. By default motion (against the
            truth too, where it is known) and text.
    """

    name: str
    part: str
    action: str
    why: str
    baseline: str
    replacements: list[str]
    metrics: list[str]
    path: Path
    factors: str = "train"
    primary: Sequence[str] = PRIMARY

    @property
    def folder(self) -> Path:
        """Where its experiments are."""
        return self.path.resolve().parent.parent

    @property
    def experiments(self) -> list[str]:
        """All that the card needs: the plain backbone, the baseline, the replacements."""
        return list(dict.fromkeys([PLAIN, self.baseline, *self.replacements]))


KEYS = tuple(field.name for field in fields(Card) if field.name != "path")


def read_card(path: str | Path) -> Card:
    """Reads and checks a card. Raises :class:`CardError`."""
    path = find_file(path, "studies", "")
    if not path.is_file():
        raise CardError(f"{path}: no such card{_cards_beside(path)}")
    try:
        data = read_yaml(path)
    except ValueError as error:
        raise CardError(f"{error}. A card has the keys {', '.join(KEYS)}") from None
    _check_keys(path, data)
    card = Card(**{"metrics": [], **data}, path=path)
    _check_values(card)
    return card


def experiments_in(folder: Path) -> list[str]:
    """Names of the experiments of a folder."""
    return sorted(path.stem for path in folder.glob("*.yaml"))


def first_comment(path: Path) -> str:
    """The hypothesis on a YAML's first line, or nothing."""
    with path.open(encoding="utf-8") as file:
        line = file.readline()
    return line[1:].strip() if line.startswith("#") else ""


def _cards_beside(path: Path) -> str:
    beside = sorted(str(card) for card in path.parent.glob("*.yaml"))
    return f". Cards there: {', '.join(beside)}" if beside else f". Shipped: {', '.join(experiments_in(FOLDER / 'studies'))}"


def _check_keys(path: Path, data: dict[str, Any]) -> None:
    unknown = [key for key in data if key not in KEYS]
    if unknown:
        raise CardError(f"{path}: unknown key '{unknown[0]}'.{_hint(str(unknown[0]), KEYS)} Keys: {', '.join(KEYS)}")
    missing = [key for key in KEYS if key not in data and key not in OPTIONAL]
    if missing:
        raise CardError(f"{path}: lacks {', '.join(missing)}")
    for key, value in data.items():
        expected = list if key in LISTS else str
        if not isinstance(value, expected) or not value or (expected is list and not all(isinstance(item, str) for item in value)):
            raise CardError(f"{path}: {key} must be a {'list of names' if expected is list else 'text'}, not {value!r}")


def _check_values(card: Card) -> None:
    if card.action not in ACTIONS:
        raise CardError(f"{card.path}: action '{card.action}' is not one of {', '.join(ACTIONS)}")
    if card.factors not in FACTORS:
        raise CardError(f"{card.path}: factors '{card.factors}' is not one of {', '.join(FACTORS)}")
    for key, names, known in (
        ("experiment", card.experiments, experiments_in(card.folder)),
        ("metric", card.metrics, METRICS.names()),
        ("primary metric", card.primary, METRICS.names()),
    ):
        for name in names:
            if name not in known:
                raise CardError(f"{card.path}: unknown {key} '{name}'.{_hint(name, known)} Choices: {', '.join(known) or 'none'}")
    for key in LISTS:
        names = getattr(card, key)
        if len(set(names)) < len(names):
            raise CardError(f"{card.path}: {key} holds a name twice: {', '.join(names)}")
    if card.baseline in card.replacements:
        raise CardError(f"{card.path}: the baseline '{card.baseline}' is among its own replacements")


def _hint(name: str, known: Iterable[str]) -> str:
    close = get_close_matches(name, list(known), n=1)
    return f" Did you mean '{close[0]}'?" if close else ""
