"""Ablation cards: the shipped ones are sound, and mistakes are named with the choices."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from motion_ablation.study.plan.cards import PLAIN, CardError, read_card

ROOT = Path(__file__).parents[3]
SHIPPED = sorted((ROOT / "experiments" / "studies").glob("*.yaml"))


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_shipped_cards_are_sound(path: Path) -> None:
    card = read_card(path)
    assert card.experiments[:2] == [PLAIN, card.baseline]
    assert all((ROOT / "experiments" / f"{name}.yaml").is_file() for name in card.experiments)


def test_the_seed_studies_are_shipped() -> None:
    cards = {path.stem: read_card(path) for path in SHIPPED}
    assert cards["integration"].replacements == ["integration_add", "integration_concat", "integration_multiply"]
    assert cards["mqk_spatial"].replacements == ["mqk_spatial", "mqk_partial"]


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"basline": "x"}, ["unknown key 'basline'", "Did you mean 'baseline'?", "replacements"]),
        ({"action": "SWAP"}, ["action 'SWAP'", "REMOVE, REPLACE, ADD"]),
        ({"metrics": ["fidd"]}, ["unknown metric 'fidd'", "Did you mean 'fid'?", "text_similarity"]),
        ({"replacements": ["mqk_spacial"]}, ["unknown experiment 'mqk_spacial'", "Did you mean 'mqk_spatial'?", "integration_add"]),
        ({"baseline": "nothing"}, ["unknown experiment 'nothing'", "baseline"]),
        ({"replacements": "mqk_spatial"}, ["replacements must be a list of names"]),
        ({"replacements": []}, ["replacements must be a list of names"]),
        ({"name": 3}, ["name must be a text, not 3"]),
        ({"replacements": ["baseline"]}, ["among its own replacements"]),
        ({"metrics": ["fid", "fid"]}, ["metrics holds a name twice"]),
    ],
)
def test_mistakes_are_named(lab: Path, card_maker: Callable[..., Path], changes: dict[str, Any], told: list[str]) -> None:
    path = card_maker(lab, "wrong", **{"replacements": ["mqk_spatial"], **changes})
    try:
        with pytest.raises(CardError) as caught:
            read_card(path)
    finally:
        path.unlink()
    message = str(caught.value)
    assert str(path) in message and "\n" not in message
    assert [part for part in told if part not in message] == []


def test_a_missing_key_is_named(tmp_path: Path) -> None:
    path = tmp_path / "card.yaml"
    path.write_text("name: half a card\n")
    with pytest.raises(CardError, match="lacks part, action, why, baseline, replacements$"):
        read_card(path)


def test_a_missing_card_lists_those_beside_it(lab: Path) -> None:
    with pytest.raises(CardError, match=r"no such card\. Cards there: .*first\.yaml.*second\.yaml"):
        read_card(lab / "studies" / "frist.yaml")


@pytest.mark.parametrize("text", ["[1, 2", "just words", ""])
def test_what_is_no_card(tmp_path: Path, text: str) -> None:
    path = tmp_path / "card.yaml"
    path.write_text(text)
    with pytest.raises(CardError, match="not YAML|has the keys"):
        read_card(path)
