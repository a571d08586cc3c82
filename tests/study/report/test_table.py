"""Tables hold what can be computed from the scores by hand."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from motion_ablation.files import write_json
from motion_ablation.metrics import METRICS
from motion_ablation.study.analysis.controls import ITSELF, SHUFFLED
from motion_ablation.study.analysis.statistics import COMPARISON, EXPLORATORY, MISSING, ONE, SAME, UNSURE, comparisons
from motion_ablation.study.markdown import grid
from motion_ablation.study.plan.study import Study
from motion_ablation.study.report.build import build_report, findings
from motion_ablation.study.report.estimates import frame_estimate
from motion_ablation.study.report.formats import heading, number, signed
from motion_ablation.study.report.model import CardSection, Estimate, NoiseSection, Report, ScoreTable
from motion_ablation.study.report.write import markdown
from motion_ablation.study.results import Results, as_frame


@pytest.fixture
def study(tmp_path: Path, study_maker: Any) -> Study:
    """Three references; ``broken`` failed on one and has not run on another; ``same`` is the baseline."""
    rng = np.random.default_rng(0)
    study: Study = study_maker(
        tmp_path, lambda *where: rng.random(), experiments=("no_motion", "baseline", "broken"), noises=("random", "blend"),
        metrics=["text_similarity", "motion_fidelity"], sets=["fid"],
    )  # fmt: skip
    study.experiments.append("same")
    study.cards[0].replacements.append("same")
    study.same_as["same"] = "baseline"
    run = study.run_of("broken", "b")
    write_json(run.folder / "result.json", {"status": "failed", "recipe": run.recipe, "reason": "FloatingPointError: the loss is nan"})
    (study.run_of("broken", "c").folder / "result.json").unlink()
    return study


def _of(study: Study, experiment: str, noise: str, metric: str) -> pd.DataFrame:
    frame = Results(study).frame
    return frame[(frame["experiment"] == experiment) & (frame["noise"] == noise) & (frame["metric"] == metric)]


@pytest.mark.parametrize("noise", ["blend", "random"])
def test_scores_are_means_with_errors_clustered_by_reference(study: Study, noise: str) -> None:
    own = _of(study, "baseline", noise, "text_similarity")
    means = own["score"].to_numpy().reshape(3, 4).mean(1)
    expected = Estimate(pytest.approx(means.mean()), pytest.approx(means.std(ddof=1) / np.sqrt(3)), 12, 3)  # type: ignore[arg-type]
    assert frame_estimate(own) == expected


def test_with_one_reference_the_error_is_over_trainings_or_else_over_videos() -> None:
    rows = [("x", "", "a", training, "p", seed, "n", "m", score) for (training, seed), score in zip(
        [(0, 0), (0, 1), (1, 0), (1, 1)], [1.0, 2.0, 5.0, 6.0], strict=True)]  # fmt: skip
    assert frame_estimate(as_frame(rows)) == Estimate(3.5, pytest.approx(2.0), 4)  # type: ignore[arg-type]
    assert frame_estimate(as_frame(rows[:2])) == Estimate(1.5, pytest.approx(0.5), 2)  # type: ignore[arg-type]
    assert str(frame_estimate(as_frame(rows[:1]))) == "1.000"
    assert frame_estimate(as_frame([])) is None
    assert frame_estimate(as_frame([("x", "", "a", 0, "p", 0, "n", "m", float("nan"))])) is None


def test_the_text_holds_the_numbers_the_failures_and_the_shared_runs(study: Study) -> None:
    text = markdown(build_report(study))
    found = frame_estimate(_of(study, "baseline", "blend", "text_similarity"))
    rows = {line.split("|")[1].strip(): line for line in text.split("## Initial noise: random")[0].splitlines() if line.startswith("|")}
    assert f" {found} " in rows["baseline"] and "1,234" in rows["baseline"] and " 12 " in rows["baseline"]
    assert f" {found} " in rows["same (= baseline)"]
    assert "broken (1 of 3 references)" in rows
    assert "- broken/b-s0 failed: FloatingPointError: the loss is nan (see broken/b-s0/traceback.txt)" in text
    assert "- broken/c-s0: not run yet" in text
    assert text.index("noise: blend") < text.index("noise: random"), "the paper's setting comes first"
    assert "text similarity ↑" in text and " fid |" in text.replace("  ", " ") and "fid ↓" not in text and SAME in text
    assert len(build_report(study).lost) == 2


def test_differences_have_intervals_and_verdicts(study: Study) -> None:
    text = markdown(build_report(study))
    compared = comparisons(study, Results(study).frame)
    row = compared.query("experiment == 'no_motion' and noise == 'blend' and metric == 'text_similarity'").iloc[0]
    assert f"{signed(row['difference'])} [{signed(row['low'])}, {signed(row['high'])}]" in text
    assert "- `no_motion`: no difference shown in text similarity (" in text and "- `same`: the same runs as the baseline." in text


def _compared(**changes: Any) -> dict[str, Any]:
    row = dict.fromkeys(COMPARISON, float("nan")) | {
        "card": "Card", "noise": "random", "metric": "text_similarity", "baseline": "baseline", "experiment": "other", "difference": 0.2,
        "low": 0.1, "high": 0.3, "p": 0.01, "p_holm": 0.02, "references": 3, "cells": 12, "detectable": 0.152,
        "detectable_low": 0.11, "detectable_high": 0.26, "primary": True, "verdict": "better",
    }  # fmt: skip
    return row | changes


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({}, "+0.200 [+0.100, +0.300] better"),
        ({"verdict": UNSURE}, "+0.200 [+0.100, +0.300] °"),
        ({"verdict": UNSURE, "p": 0.06, "low": -0.1}, "+0.200 [-0.100, +0.300]"),
        ({"verdict": EXPLORATORY, "primary": False}, "+0.200 [+0.100, +0.300]"),
        ({"verdict": ONE, "low": float("nan"), "high": float("nan")}, "+0.200"),
        ({"verdict": UNSURE, "low": float("nan"), "high": float("nan"), "p": 1.0}, "+0.200"),
        ({"verdict": SAME}, "same runs"),
        ({"verdict": MISSING, "difference": float("nan")}, "-"),
    ],
)
def test_a_difference_in_a_cell(changes: dict[str, Any], text: str) -> None:
    (finding,) = findings(pd.DataFrame([_compared(**changes)]))
    assert [str(row) for row in finding.comparisons] == [text]


def _printed(rows: list[dict[str, Any]]) -> list[str]:
    """The lines that ``table.md`` has of these comparisons, beneath their table."""
    card = CardSection("Card", "card", "Why?", "baseline", findings(pd.DataFrame(rows)), ScoreTable([], []))
    section = NoiseSection("random", "", ScoreTable(["fid"], []), None, [card])
    text = markdown(Report("", "baseline", [], {"Backbone": ""}, {}, 0, [], [section], [], "It speaks of them.", [], {}, [], [], []))
    _, found, rest = text.partition("### Card: paired differences from baseline, random noise\n\n")
    return rest.split("**Scores.**")[0].strip().split("\n\n", 1)[1].splitlines() if found else []


def test_verdicts_in_words() -> None:
    rows = [
        _compared(),
        _compared(metric="direction", verdict="worse", difference=0.25),
        _compared(metric="fid", verdict=EXPLORATORY, primary=False),
        _compared(metric="motion_fidelity", verdict=UNSURE),
        _compared(metric="prompt_colors", verdict=UNSURE, detectable=1.5),
        _compared(metric="trajectory_error", verdict=UNSURE, detectable=float("nan")),
        _compared(experiment="lost", verdict=MISSING, difference=float("nan")),
    ]
    assert _printed(rows) == [
        "Judged: text similarity, direction, motion fidelity, prompt colors, trajectory error; the other columns are exploratory. "
        "It speaks of them. In brackets: the true difference that would have been found.",
        "",
        "- `other`: text similarity better by 0.200; direction worse by 0.250; "
        "no difference shown in motion fidelity (0.2, or 0.1 to 0.3), "
        "prompt colors (none could have been found), trajectory error (too few references to tell what would have been found).",
    ]


def test_without_a_primary_metric_there_is_no_verdict() -> None:
    assert _printed([_compared(verdict=EXPLORATORY, primary=False)]) == ["Exploratory: no verdicts under this initial noise."]


def test_a_card_without_results_has_no_table() -> None:
    assert _printed([_compared(verdict=MISSING, difference=float("nan"))]) == []


def test_control_rows_are_in_the_table(tmp_path: Path, kept_study: Callable[..., Study]) -> None:
    study = kept_study(tmp_path, prompts="p")
    text = markdown(build_report(study))
    rows = {line.split("|")[1].strip(): line.split("|")[2:] for line in text.splitlines() if line.startswith("|")}
    columns = [cell.strip() for cell in next(line for line in text.splitlines() if line.startswith("| experiment")).split("|")[2:]]
    assert columns[:3] == ["text similarity ↑", "motion fidelity ↑", "fid"]
    itself, shuffled = ([cell.strip() for cell in rows[name]] for name in (ITSELF, SHUFFLED))
    assert itself[:4] == ["-", "1.000 ± 0.000", "0.000 ± 0.000", "0"]
    assert shuffled[0] == rows["baseline"][0].strip() and shuffled[3] == "4"
    assert markdown(build_report(study)) == text, "a second report is the same"


def test_training_seeds_are_told_and_lost_runs_counted(tmp_path: Path, study_maker: Any) -> None:
    study = study_maker(tmp_path, lambda *where: 0.5, train_seeds=(3, 4))
    (study.run_of("other", "b", 4).folder / "result.json").unlink()
    text = markdown(build_report(study))
    assert "Training seeds: 3, 4." in text and "other (5 of 6 runs)" in text and "no_motion (" not in text


def test_results_of_another_recipe_are_not_shown(study: Study) -> None:
    result = study.runs[0].result()
    assert result is not None
    write_json(study.runs[0].folder / "result.json", {**result, "recipe": "another"})
    assert "no_motion/a-s0" in [run.name for run in build_report(study).lost if run.reason.startswith("not run yet")]
    assert "no_motion (2 of 3 references)" in markdown(build_report(study))


def test_a_study_without_results_says_so(study: Study) -> None:
    for run in study.runs:
        (run.folder / "result.json").unlink(missing_ok=True)
    assert "No run has finished." in markdown(build_report(study))


def test_a_study_can_be_read_back_and_moved(study: Study) -> None:
    study.save()
    before = markdown(build_report(study))
    place = study.folder.rename(study.folder.with_name("moved"))
    assert markdown(build_report(Study.load(place))) == before


def test_numbers_and_headings(monkeypatch: pytest.MonkeyPatch) -> None:
    assert [number(value) for value in (0.12345, -0.0001, 123.456)] == ["0.123", "0.000", "123.5"]
    assert [signed(value) for value in (0.1, -0.1, 0.0001, 0)] == ["+0.100", "-0.100", "0.000", "0.000"]
    monkeypatch.setattr(METRICS["fid"], "higher_is_better", None)
    assert heading("fid") == "fid"


def test_tables_line_up() -> None:
    assert grid(["a", "number"], [["longer", "1"]]) == "| a      | number |\n| :----- | -----: |\n| longer |      1 |"
