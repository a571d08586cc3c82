"""Tables hold what can be computed from the results by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from motion_ablation.study.cards import Card
from motion_ablation.study.plan import Run, Study, write_json
from motion_ablation.study.table import done_results, estimate, failures, grid, metric_estimate, paired_estimate, scores_csv, table

PROMPTS, SEEDS = ("p", "q"), (0, 1)


def _result(rng: np.random.Generator, reference: str) -> dict[str, Any]:
    cells = [
        {
            "reference": reference,
            "prompt": prompt,
            "seed": seed,
            "noise": noise,
            "text_similarity": rng.random(),
            "motion_fidelity": rng.random(),
        }
        for noise in ("random", "blend")
        for prompt in PROMPTS
        for seed in SEEDS
    ]
    return {
        "status": "done", "recipe": "r", "seconds": 10.0, "steps": 400, "backbone": "abc", "cells": cells,
        "parameters": {"trainable": 1234, "frozen": 9}, "config": {"model": {"backbone": {"source": "shapes"}}},
        "metrics": {f"{noise}/fid": rng.random() for noise in ("blend", "random")},
    }  # fmt: skip


@pytest.fixture
def study(tmp_path: Path) -> Study:
    """Three references; ``broken`` failed on one and has not run on another; ``same`` is the baseline."""
    rng = np.random.default_rng(0)
    metrics = ["text_similarity", "motion_fidelity", "fid"]
    card = Card("Card", "part", "REPLACE", "why", "baseline", ["broken", "same"], metrics, tmp_path / "card.yaml")
    study = Study(tmp_path, [card], ["no_motion", "baseline", "broken", "same"], ["a", "b", "c"], {"same": "baseline"})
    for experiment in ("no_motion", "baseline", "broken"):
        for reference in "abc":
            run = Run(experiment, reference, tmp_path / experiment / reference, [], "r", True)
            study.runs.append(run)
            result = _result(rng, reference)
            if run.name == "broken/b":
                result = {"status": "failed", "recipe": "r", "reason": "FloatingPointError: the loss is nan"}
            if run.name != "broken/c":
                write_json(run.folder / "result.json", result)
    return study


def _values(study: Study, experiment: str, noise: str, metric: str) -> np.ndarray[Any, Any]:
    """Scores by reference and cell."""
    results = done_results(study)
    return np.array([[c[metric] for c in results[experiment, r]["cells"] if c["noise"] == noise] for r in study.references])


@pytest.mark.parametrize("noise", ["blend", "random"])
def test_scores_are_means_with_errors_clustered_by_reference(study: Study, noise: str) -> None:
    found = metric_estimate(done_results(study), study, "baseline", noise, "text_similarity")
    means = _values(study, "baseline", noise, "text_similarity").mean(1)
    assert found is not None and found.count == 12
    assert found.mean == pytest.approx(means.mean())
    assert found.error == pytest.approx(means.std(ddof=1) / np.sqrt(3))


def test_a_metric_of_sets_has_one_value_per_reference(study: Study) -> None:
    results = done_results(study)
    values = [results["baseline", reference]["metrics"]["random/fid"] for reference in study.references]
    found = metric_estimate(results, study, "baseline", "random", "fid")
    assert found is not None and (found.mean, found.error) == pytest.approx((np.mean(values), np.std(values, ddof=1) / np.sqrt(3)))


def test_differences_are_paired_on_cells(study: Study) -> None:
    found = paired_estimate(done_results(study), study, "no_motion", "baseline", "blend", "motion_fidelity")
    differences = (_values(study, "no_motion", "blend", "motion_fidelity") - _values(study, "baseline", "blend", "motion_fidelity")).mean(1)
    assert found is not None and (found.mean, found.error) == pytest.approx((differences.mean(), differences.std(ddof=1) / np.sqrt(3)))


def test_differences_take_only_references_that_both_have(study: Study) -> None:
    results = done_results(study)
    found = paired_estimate(results, study, "broken", "baseline", "blend", "text_similarity")
    mine, theirs = (
        {(c["prompt"], c["seed"]): c["text_similarity"] for c in results[name, "a"]["cells"] if c["noise"] == "blend"}
        for name in ("broken", "baseline")
    )
    differences = [mine[cell] - theirs[cell] for cell in mine]
    assert found is not None and found.count == 4
    assert (found.mean, found.error) == pytest.approx((np.mean(differences), np.std(differences, ddof=1) / 2)), (
        "one reference: over its cells"
    )


def test_a_single_value_has_no_error() -> None:
    assert estimate([[1.0]]) is not None and str(estimate([[1.0]])) == "1.000"
    assert estimate([[], []]) is None
    assert estimate([]) is None


def test_the_text_holds_the_numbers_the_failures_and_the_shared_runs(study: Study) -> None:
    text = table(study)
    found = metric_estimate(done_results(study), study, "baseline", "blend", "text_similarity")
    rows = {line.split("|")[1].strip(): line for line in text.split("## Initial noise: random")[0].splitlines() if line.startswith("|")}
    assert f" {found} " in rows["baseline"] and "1,234" in rows["baseline"]
    assert f" {found} " in rows["same (= baseline)"]
    assert "broken (1 of 3 references)" in rows
    assert "- broken/b failed: FloatingPointError: the loss is nan (see broken/b/traceback.txt)" in text
    assert "- broken/c: not run yet" in text
    assert text.index("noise: blend") < text.index("noise: random"), "the paper's setting comes first"
    assert "text similarity ↑" in text and "fid ↓" in text and "same runs" in text
    assert len(failures(study)) == 2


def test_results_of_another_recipe_are_not_shown(study: Study) -> None:
    result = study.runs[0].result()
    assert result is not None
    write_json(study.runs[0].folder / "result.json", {**result, "recipe": "another"})
    assert ("no_motion", "a") not in done_results(study)
    assert any("no_motion/a: not run yet" in line for line in failures(study))


def test_every_cell_is_in_the_csv(study: Study) -> None:
    import csv

    rows = list(csv.DictReader(scores_csv(study).splitlines()))
    assert len(rows) == (3 + 3 + 1 + 3) * 8
    first = next(row for row in rows if row["experiment"] == "baseline")
    cell = done_results(study)["baseline", "a"]["cells"][0]
    assert float(first["text_similarity"]) == cell["text_similarity"] and first["noise"] == cell["noise"]
    assert {row["same_as"] for row in rows if row["experiment"] == "same"} == {"baseline"}


def test_a_study_can_be_read_back_and_moved(study: Study) -> None:
    study.save()
    place = study.folder.rename(study.folder.with_name("moved"))
    assert table(Study.load(place)) == table(Study.load(place))
    assert done_results(Study.load(place)).keys() and Study.load(place).experiments == study.experiments


def test_tables_line_up() -> None:
    assert grid(["a", "number"], [["longer", "1"]]) == "| a      | number |\n| :----- | -----: |\n| longer |      1 |"
