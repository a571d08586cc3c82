"""Plans in AblationBench's format: the seed's own gives our two cards, and what is missing is named."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from motion_ablation.cli.studies import main
from motion_ablation.configure.shipped import FOLDER
from motion_ablation.study.plan.cards import CardError, read_card
from motion_ablation.study.plan.proposals import closest, read_plan, skeleton

METRICS = ["text similarity", "motion fidelity", "temporal consistency", "FID"]
SEED = [
    {
        "name": "Integration Strategy",
        "ablated_part": "how Motion Embeddings enter the temporal transformer modules",
        "action": "REPLACE",
        "replacement": ["direct addition", "concatenation", "multiplicative integration"],
        "metrics": METRICS,
    },
    {
        "name": "Spatial Dimensions in MQK",
        "ablated_part": "exclusion of spatial dimensions from the Motion Query-Key Embedding",
        "action": "REPLACE",
        "replacement": ["include spatial dimensions", "partial inclusion of spatial dimensions"],
        "metrics": METRICS,
    },
]
MARKDOWN = """# planner/model/paper
## Reasoning Trace
Some words. ### not a heading
## Ablation Plan

### Ablation of Individual Motion Embedding Contribution
- **Ablated Part**: Using both Motion Query-Key (MQK) and Motion Value (MV) embeddings
- **Action**: REMOVE
- **Metrics**: Text Similarity, Motion Fidelity, User Preference

### Where it enters
- **Ablated Part**: adding to F before the projection
- **Action**: REPLACE
- **Replacement**:\x20
  - Add embeddings after Q/K/V projection
  - Quantum teleportation of the features
- **Metrics**: FID
"""


def written(folder: Path, text: str, name: str = "plan.json") -> Path:
    (folder / name).write_text(text)
    return folder / name


LINES = "\n".join(map(json.dumps, SEED))


@pytest.mark.parametrize("lines", [json.dumps(SEED), LINES, f"thoughts\n{LINES}\n"])
def test_the_seed_s_plan_gives_our_two_cards(tmp_path: Path, lines: str) -> None:
    for proposal, card in zip(read_plan(written(tmp_path, lines)), ("integration", "mqk_spatial"), strict=True):
        found, ours = skeleton(proposal, FOLDER), read_card(card)
        assert found.missing == [] == found.unknown
        assert {key: found.card[key] for key in ("part", "action", "baseline", "replacements", "factors")} == {
            key: getattr(ours, key) for key in ("part", "action", "baseline", "replacements", "factors")
        }
        assert found.card["metrics"] == ["text_similarity", "motion_fidelity", "temporal_consistency", "fid"]


def test_a_trajectory_s_markdown(tmp_path: Path) -> None:
    removal, place = (skeleton(each, FOLDER) for each in read_plan(written(tmp_path, MARKDOWN, "plan.md")))
    assert set(removal.card["replacements"]) == {"mqk_only", "mv_only", "no_motion"} and removal.unknown == ["User Preference"]
    assert place.card["replacements"] == ["after_projection"] and place.missing == ["Quantum teleportation of the features"]
    assert "# no experiment yet: Quantum" in place.to_yaml() and "# no such metric: User Preference" in removal.to_yaml()


def test_the_command_writes_cards_that_can_be_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "studies").mkdir()
    for name in ("baseline", "no_motion", "integration_add", "integration_concat", "integration_multiply", "mqk_spatial", "mqk_partial"):
        (tmp_path / f"{name}.yaml").write_text((FOLDER / f"{name}.yaml").read_text())
    main(["plan", str(written(tmp_path, json.dumps(SEED))), "--experiments", str(tmp_path), "--output", str(tmp_path / "studies")])
    assert read_card(tmp_path / "studies" / "integration_strategy.yaml").replacements[1] == "integration_concat"
    assert read_card(tmp_path / "studies" / "spatial_dimensions_in_mqk.yaml").action == "REPLACE"
    with pytest.raises(SystemExit):
        main(["plan", str(tmp_path / "plan.json"), "--experiments", str(tmp_path), "--output", str(tmp_path / "studies")])
    assert "is there already" in capsys.readouterr().err, "what a user has filled in is not overwritten"


def test_words_that_no_experiment_shares_are_missing() -> None:
    experiments = {"integration_add": "Direct addition.", "noise_fft": "A low-pass."}
    assert closest("addition", "", experiments) == "integration_add" and closest("entirely different", "integration", experiments) == ""


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("nothing here", "holds no ablations"),
        ('{"name": "x", "action": "REMOVE"}', "'x': has no ablated_part"),
        ('{"name": "x", "ablated_part": "y", "action": "SHRINK"}', "action 'SHRINK' is not one of REMOVE, REPLACE, ADD"),
        ('{"name": "x", "ablated_part": "y", "action": "ADD"}', "action ADD needs a replacement"),
        ('{"name": "x", "ablated_part": "y", "action": "ADD", "replacement": [1]}', "must be lists of texts"),
    ],
)
def test_mistakes_are_named(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(CardError, match=message):
        read_plan(written(tmp_path, text))
