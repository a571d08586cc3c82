"""Published rows beside ours: the deviation by hand, and no deviation where the protocol is another."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from motion_ablation.cli.studies import main
from motion_ablation.configure.shipped import FOLDER
from motion_ablation.study.plan.cards import CardError, experiments_in
from motion_ablation.study.report.published import compare, differences, read_published

NAMES = ["text_similarity", "motion_fidelity"]
TABLE = {
    "name": "A table",
    "source": "a paper",
    "setting": "a backbone",
    "n": "4 videos",
    "noise": "random",
    "metrics": {"text_similarity": {"network": "clip-vit"}, "motion_fidelity": {"protocol": "dmt"}},
    "rows": [
        {"name": "Theirs", "ours": "other", "text_similarity": 0.4, "motion_fidelity": 0.9},
        {"name": "Alone", "text_similarity": 0.2},
    ],
}


def table(folder: Path, **changes: Any) -> Path:
    (folder / "table.yaml").write_text(yaml.safe_dump({**TABLE, **changes}))
    return folder / "table.yaml"


def cells(text: str, row: str, metric: str) -> list[str]:
    (line,) = [line for line in text.splitlines() if line.startswith(f"| {row} ") and f"| {metric} " in line]
    return [cell.strip() for cell in line.strip("|").split("|")]


@pytest.mark.parametrize("name", experiments_in(FOLDER / "tables"))
def test_shipped_tables_are_whole_and_name_experiments_that_exist(name: str) -> None:
    found = read_published(name)
    assert {row["ours"] for row in found.rows if "ours" in row} <= set(experiments_in(FOLDER)) and found.source and found.n
    assert "not run" in compare(found)


def test_published_numbers_are_those_of_the_sources() -> None:
    ours = {row["name"]: row for row in read_published("motion_inversion").rows}["Motion Inversion"]
    assert [ours[metric] for metric in (*NAMES, "temporal_consistency", "fid")] == [0.3113, 0.9552, 0.9354, 550.38]
    assert [read_published(f"ditflow_{size}").rows[0]["motion_fidelity"] for size in ("2b", "5b")] == [0.513, 0.523]


def test_the_deviation_is_ours_minus_theirs_under_the_same_protocol(tmp_path: Path, study_maker: Any) -> None:
    protocols = {"text_similarity": {"network": "CLIP openai/clip-vit-base-patch32"}, "motion_fidelity": {"protocol": "two_way"}}
    study = study_maker(tmp_path / "study", lambda *_: 0.5, metrics=NAMES)
    add_protocols(study, protocols)
    text = compare(read_published(table(tmp_path)), study)
    assert cells(text, "Theirs", "text similarity")[2:] == [
        "0.400",
        "0.500 ± 0.000",
        "12 videos, 3 references",
        "+0.100 (+25.0 %)",
        "the same",
    ]
    assert cells(text, "Theirs", "motion fidelity")[-2:] == ["not comparable", "protocol is two_way, not dmt"]
    assert cells(text, "Alone", "text similarity")[3:] == ["–", "–", "–", "not run"]


def add_protocols(study: Any, protocols: dict[str, dict[str, str]]) -> None:
    from motion_ablation.files import read_json, write_json

    for run in study.runs:
        file = run.folder / "result.json"
        write_json(file, {**read_json(file), "protocols": protocols})


def test_a_longer_name_is_another_protocol() -> None:
    assert differences({"protocol": "two_way"}, {"protocol": "two_way_static"}) == "protocol is two_way_static, not two_way"
    assert differences({"tracker": "cotracker3, grid 55"}, {"tracker": "cotracker3, grid 55"}) == ""
    assert differences({"network": "inception"}, {}) == "network is not stated, not inception"


def test_mistakes_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(CardError, match="no such table. Shipped: ditflow_2b, ditflow_5b, motion_inversion"):
        read_published(tmp_path / "none.yaml")
    for change, message in (({"source": ""}, "lacks source"), ({"metrics": {"beauty": {}}}, "'beauty' is neither")):
        with pytest.raises(CardError, match=message):
            read_published(table(tmp_path, **change))
    with pytest.raises(CardError, match="a row needs a name and numbers"):
        read_published(table(tmp_path, rows=[{"name": "x", "fid": 3}]))
    main(["compare", "motion_inversion"])
    assert "550.4" in capsys.readouterr().out
