"""Scores in long form hold what the results hold, survive Parquet, and are averaged level by level."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from motion_ablation.files import write_json
from motion_ablation.study.analysis.controls import controls
from motion_ablation.study.plan.study import Study
from motion_ablation.study.report.build import build_report, films_of
from motion_ablation.study.results import (
    COLUMNS,
    Results,
    higher_is_better,
    noises_of,
    reference_means,
    set_level,
    truths_of,
)


@pytest.fixture
def study(tmp_path: Path, study_maker: Any) -> Study:
    rng = np.random.default_rng(0)
    return study_maker(
        tmp_path, lambda *where: rng.random(), train_seeds=(3, 4), noises=("random", "blend"), metrics=["text_similarity"], sets=["fid"]
    )


def test_every_score_has_a_row(study: Study) -> None:
    frame = Results(study).frame
    assert tuple(frame.columns) == COLUMNS
    assert len(frame) == (3 + 6 + 6) * 2 * (4 + 1), "runs x noises x (videos + 1 set)"
    cell = study.run_of("other", "b", 4).result()["cells"][5]  # type: ignore[index]
    chosen = frame.query("experiment == 'other' and reference == 'b' and train_seed == 4 and metric == 'text_similarity'")
    row = chosen[(chosen["prompt"] == cell["prompt"]) & (chosen["seed"] == cell["seed"]) & (chosen["noise"] == cell["noise"])]
    assert row["score"].tolist() == [cell["text_similarity"]]
    sets = frame[frame["metric"] == "fid"]
    assert set(sets["prompt"]) == {""} and sets["seed"].isna().all()
    assert set(frame.loc[frame["experiment"] == "no_motion", "train_seed"]) == {3}


def test_it_survives_parquet(study: Study, tmp_path: Path) -> None:
    frame = Results(study).frame
    frame.to_parquet(tmp_path / "scores.parquet")
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "scores.parquet"), frame)


def test_an_empty_study_has_an_empty_frame_of_the_same_types(study: Study) -> None:
    empty = Results(Study(study.folder, study.cards, [], [])).frame
    assert empty.empty and empty.dtypes.equals(Results(study).frame.dtypes)


def test_a_score_that_could_not_be_computed_is_nan(study: Study) -> None:
    run = study.runs[0]
    result = run.result()
    assert result is not None
    result["cells"][0]["text_similarity"] = None
    write_json(run.folder / "result.json", result)
    assert Results(study).frame["score"].isna().sum() == 1


def test_failed_runs_and_those_of_another_recipe_are_left_out(study: Study) -> None:
    first, second = study.runs[:2]
    write_json(first.folder / "result.json", {"status": "failed", "recipe": first.recipe, "reason": "nan"})
    write_json(second.folder / "result.json", {**(second.result() or {}), "recipe": "another"})
    results = Results(study)
    names = [each.run.name for each in results.finished]
    assert len(names) == 13 and first.name not in names and second.name not in names
    assert results.first("no_motion", "a") is None and results.first("no_motion", "c") in results.of("no_motion")


def test_shared_runs_are_shown_twice(study: Study) -> None:
    study.experiments.append("same")
    study.same_as["same"] = "baseline"
    frame = Results(study).frame
    mine, theirs = (frame[frame["experiment"] == name] for name in ("same", "baseline"))
    assert mine["score"].tolist() == theirs["score"].tolist() and set(mine["same_as"]) == {"baseline"}
    assert [each.run for each in Results(study).of("same")] == study.runs_of("baseline")


def test_means_are_over_trainings_then_references(study: Study) -> None:
    frame = Results(study).frame.query("experiment == 'other' and noise == 'blend' and metric == 'text_similarity'")
    own = frame[frame["reference"] == "b"]
    lost = own.index[(own["train_seed"] == 3)][:3]
    frame.loc[lost, "score"] = np.nan
    left = own.drop(lost)
    expected = np.mean([left.loc[left["train_seed"] == seed, "score"].mean() for seed in (3, 4)])
    means = reference_means(frame)
    assert list(means.index) == ["a", "b", "c"] and means["b"] == pytest.approx(expected)
    assert means["b"] != pytest.approx(left["score"].mean()), "a training with fewer videos weighs the same"


def test_directions_levels_and_orders() -> None:
    assert higher_is_better("fid") is None and higher_is_better("trajectory_error") is False and higher_is_better("direction") is True
    assert set_level("fid") and not set_level("text_similarity") and not set_level("direction")
    assert noises_of(["other", "random", "blend", "random"]) == ["blend", "random", "other"]
    assert truths_of(pd.DataFrame({"metric": ["fid", "direction", "direction"], "score": 1.0})) == ["direction"]
    unknown = pd.DataFrame({"metric": ["direction", "trajectory_error (raw)"], "score": [np.nan, 1.0]})
    assert truths_of(unknown) == [], "without a score it is not known"


def test_every_video_is_in_the_csv(study: Study) -> None:
    rows = list(csv.DictReader(Results(study).csv().splitlines()))
    assert len(rows) == 15 * 8
    result = study.run_of("baseline", "a", 4).result()
    assert result is not None
    found = [row for row in rows if (row["experiment"], row["reference"], row["train_seed"]) == ("baseline", "a", "4")]
    assert [float(row["text_similarity"]) for row in found] == [cell["text_similarity"] for cell in result["cells"]]
    assert {float(row["run_fid"]) for row in found} == set(result["metrics"].values())


def test_a_shown_reference_is_in_the_sheets_and_in_no_number(tmp_path: Path, kept_study: Any) -> None:
    study = kept_study(tmp_path, references="abc", prompts="p", seeds=(0,))
    study.shown.append("c")
    study.save()
    results, every = Results(Study.load(tmp_path)), Results(replace(study, shown=[]))
    assert results.study.judged == ["a", "b"] and set(results.frame["reference"]) == {"a", "b"}
    kept = every.frame["reference"] != "c"
    pd.testing.assert_frame_equal(results.frame, every.frame[kept].reset_index(drop=True))
    assert {row["reference"] for row in csv.DictReader(results.csv().splitlines())} == {"a", "b"}
    assert [film.reference for film in films_of(results)] == ["a", "b", "c"] == [film.reference for film in films_of(every)]
    report = build_report(results.study)
    assert report.facts["References"] == "a, b" and report.facts["References that are shown and not counted"] == "c"
    assert all(value.references <= 2 for section in report.sections for row in section.scores.rows for value in row.values if value)
    assert set(controls(results).frame["reference"]) == {"a", "b"}
