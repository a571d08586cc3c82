"""A set's parts as columns: means by hand, in the table and in the scores."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from PIL import Image

from motion_ablation.study.plan.cards import read_card
from motion_ablation.study.plan.planning import Options, make_study
from motion_ablation.study.plan.study import Study
from motion_ablation.study.report.build import build_report
from motion_ablation.study.report.write import html, latex, markdown
from motion_ablation.study.results import Results

STRATA = {"a": {"p": "easy", "q": "hard"}, "b": {"p": "easy", "q": "hard"}}


def test_a_manifest_s_strata_reach_the_study(tmp_path: Path, quick_config: Path, tiny_clip: Path) -> None:
    (tmp_path / "clip").mkdir()
    for number in range(4):
        Image.new("RGB", (16, 16), (40 * number,) * 3).save(tmp_path / "clip" / f"{number}.png")
    row = {"path": "clip", "caption": "a clip", "prompts": ["a cat", "a moon"], "kinds": ["subject", "scene"], "stratum": "hard"}
    (tmp_path / "set.jsonl").write_text(json.dumps(row))
    study = make_study([read_card("integration")], tmp_path / "study", Options([str(tmp_path / "set.jsonl")], [str(quick_config)]))
    assert study.strata == {"clip": {"a cat": "hard, subject", "a moon": "hard, scene"}}


def test_strata_are_columns(tmp_path: Path, study_maker: Any) -> None:
    def score(experiment: str, reference: str, train_seed: int, prompt: str, seed: int | None, noise: str, metric: str) -> float:
        return {"p": 0.2, "q": 0.6}[prompt] + (0.1 if experiment == "other" else 0.0) + (0.02 if reference == "b" else 0.0)

    study = study_maker(tmp_path, score)
    assert "each part of the set" not in markdown(build_report(study))
    study.strata.update(STRATA)
    study.save()
    again = Study.load(tmp_path)
    assert again.strata == STRATA
    report = build_report(again)
    (table,) = report.sections[0].strata
    means = {label: [round(value.mean, 3) for value in values if value] for label, values in table.rows}
    assert table.strata == ["easy", "hard"] and means["baseline"] == [0.21, 0.61] and means["other"] == [0.31, 0.71]
    line, *_ = [line for line in markdown(report).split("each part of the set:")[1].splitlines() if line.startswith("| other")]
    assert [cell.strip() for cell in line.strip("|").split("|")] == ["other", "0.310 ± 0.010", "0.710 ± 0.010"]
    page = html(report).split("each part of the set")[-1].split("</table>")[0]
    assert [part in page for part in ("easy", "hard", "0.310 ± 0.010", "0.710 ± 0.010")] == [True] * 4
    paper = latex(report).split("each part of the set")[-1]
    assert "experiment & easy & hard" in paper and "other & $0.310$" in paper
    rows = Results(again).csv().splitlines()
    assert "stratum" in rows[0].split(",")
    assert sum(",easy," in row for row in rows) == sum(",hard," in row for row in rows) > 0, "and the third reference has none"
