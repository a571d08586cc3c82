"""Comparisons: pairs on common noise, levels, families, verdicts; and what a whole study concludes, as often as it says."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from math import isnan
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.stats import ttest_1samp

from motion_ablation.files import write_json
from motion_ablation.metrics import METRICS
from motion_ablation.study.analysis.inference import holm
from motion_ablation.study.analysis.statistics import COMPARISON, EXPLORATORY, ONE, SAME, UNSURE, comparisons, paired, verdict_of
from motion_ablation.study.plan.study import Study
from motion_ablation.study.report.build import build_report
from motion_ablation.study.report.write import latex, markdown
from motion_ablation.study.results import Results


def _noise(*where: Any) -> float:
    """A number that depends on where only."""
    return float(np.random.default_rng([ord(letter) % 256 for letter in repr(where)]).normal())


def _row(compared: pd.DataFrame, **where: Any) -> dict[str, Any]:
    chosen = compared
    for key, value in where.items():
        chosen = chosen[chosen[key] == value]
    assert len(chosen) == 1
    return dict(chosen.to_dict("records")[0])


def _common(effect: float = 0.0, spread: float = 0.1) -> Callable[..., float]:
    """Scores with a large part that all experiments share on a cell, and a small one of their own."""

    def score(experiment: str, reference: str, train_seed: int, prompt: str, seed: int, noise: str, metric: str) -> float:
        own = _noise(experiment, reference, train_seed, prompt, seed, noise, metric)
        return 5 * _noise(reference, prompt, seed) + spread * own + effect * (experiment == "other")

    return score


def test_differences_are_paired_on_cells_and_judged_over_references(tmp_path: Path, study_maker: Any) -> None:
    study = study_maker(tmp_path, _common())
    frame = Results(study).frame
    compared = comparisons(study, frame)
    assert tuple(compared.columns) == COMPARISON and len(compared) == 2
    values = frame.pivot_table(index=["reference", "prompt", "seed"], columns="experiment", values="score")
    means = (values["other"] - values["baseline"]).groupby("reference").mean()
    expected = ttest_1samp(means, 0)
    row = _row(compared, experiment="other")
    assert (row["difference"], row["references"], row["cells"]) == (pytest.approx(means.mean()), 3, 12)
    assert (row["low"], row["high"]) == pytest.approx(expected.confidence_interval(0.95))
    assert row["p"] == pytest.approx(expected.pvalue)
    assert row["high"] - row["low"] < 1, "what the cells have in common is gone"


def test_only_cells_and_references_that_both_have_are_compared(tmp_path: Path, study_maker: Any) -> None:
    study = study_maker(tmp_path, _common())
    run = study.run_of("other", "b")
    write_json(run.folder / "result.json", {"status": "failed", "recipe": run.recipe, "reason": "nan"})
    run = study.run_of("other", "c")
    result = run.result()
    result["cells"] = result["cells"][:1]
    write_json(run.folder / "result.json", result)
    row = _row(comparisons(study, Results(study).frame), experiment="other")
    assert (row["references"], row["cells"]) == (2, 5)


def test_training_and_generation_seeds_are_repeats_within_a_reference(tmp_path: Path, study_maker: Any) -> None:
    study = study_maker(tmp_path, _common(), train_seeds=(1, 2, 3))
    frame = Results(study).frame
    values = frame[frame["experiment"] != "no_motion"].pivot_table(
        index=["reference", "train_seed", "prompt", "seed"], columns="experiment", values="score"
    )
    means = (values["other"] - values["baseline"]).groupby("reference").mean()
    assert len(values) == 36 and len(means) == 3
    expected = ttest_1samp(means, 0)
    row = _row(comparisons(study, frame), experiment="other")
    assert (row["difference"], row["p"], row["references"]) == (pytest.approx(means.mean()), pytest.approx(expected.pvalue), 3)


def test_what_trains_nothing_meets_every_training(tmp_path: Path, study_maker: Any) -> None:
    study = study_maker(tmp_path, _common(), train_seeds=(1, 2))
    frame = Results(study).frame
    row = _row(comparisons(study, frame), experiment="no_motion")
    means = {name: frame.loc[frame["experiment"] == name, "score"].mean() for name in ("no_motion", "baseline")}
    assert (row["cells"], row["difference"]) == (3 * 2 * 4, pytest.approx(means["no_motion"] - means["baseline"]))


def test_without_the_training_seed_only_the_same_training_is_compared() -> None:
    rows = {"reference": "a", "prompt": "p", "seed": pd.array([0, 0], dtype="Int64"), "train_seed": [1, 2], "score": [1.0, 2.0]}
    mine, theirs = pd.DataFrame(rows), pd.DataFrame({**rows, "train_seed": [2, 3]})
    assert paired(mine, theirs) == [("a", 2, 1.0)]
    assert paired(mine, theirs, theirs_train=False) == [("a", 1, -0.5), ("a", 2, 0.5)]


def test_one_reference_has_a_difference_and_no_verdict(tmp_path: Path, study_maker: Any) -> None:
    study = study_maker(tmp_path, _common(effect=2.0), references="a", prompts="pqrs", metrics=["text_similarity", "motion_fidelity"])
    compared = comparisons(study, Results(study).frame)
    row = _row(compared, experiment="other", metric="text_similarity")
    assert row["difference"] > 1 and row["verdict"] == ONE
    assert all(isnan(row[key]) for key in ("low", "high", "p", "p_holm", "detectable"))


def test_families_are_primary_metrics_on_random_noise_no_motion_apart(tmp_path: Path, study_maker: Any) -> None:
    metrics = ["text_similarity", "motion_fidelity", "temporal_consistency"]
    study = study_maker(
        tmp_path, _common(effect=0.1), experiments=("no_motion", "baseline", "other", "more"), metrics=metrics, noises=("random", "blend")
    )
    compared = comparisons(study, Results(study).frame)
    assert len(compared) == 18
    judged = (compared["noise"] == "random") & (compared["metric"] != "temporal_consistency")
    assert (compared["primary"] == judged).all()
    assert (compared.loc[~judged, "verdict"] == EXPLORATORY).all() and compared.loc[~judged, "p_holm"].isna().all()
    assert compared.loc[~judged, ["low", "high", "p"]].notna().all(axis=None), "shown with their intervals all the same"
    mine = compared[judged]
    for family, size in ((mine[mine["experiment"] == "no_motion"], 2), (mine[mine["experiment"] != "no_motion"], 4)):
        assert len(family) == size and family["p_holm"].tolist() == pytest.approx(holm(family["p"].tolist()))


def test_a_card_says_what_is_primary(tmp_path: Path, study_maker: Any) -> None:
    study = study_maker(tmp_path, _common(), metrics=["text_similarity", "temporal_consistency"])
    study.cards[0] = replace(study.cards[0], primary=["temporal_consistency"])
    compared = comparisons(study, Results(study).frame)
    assert set(compared.loc[compared["primary"], "metric"]) == {"temporal_consistency"}


def test_experiments_that_share_their_runs_are_one_test(tmp_path: Path, study_maker: Any) -> None:
    study = study_maker(tmp_path, _common(effect=0.1), experiments=("no_motion", "baseline", "other", "more"))
    alone = comparisons(study, Results(study).frame)
    study.experiments.append("again")
    study.cards[0].replacements.append("again")
    study.same_as["again"] = "other"
    compared = comparisons(study, Results(study).frame)
    for name in ("other", "more"):
        assert _row(compared, experiment=name)["p_holm"] == _row(alone, experiment=name)["p_holm"]
    assert _row(compared, experiment="again")["p_holm"] == _row(alone, experiment="other")["p_holm"]


def test_a_verdict_on_some_of_the_references_says_so(tmp_path: Path, study_maker: Any) -> None:
    study = study_maker(tmp_path, _common(effect=9.0))
    (study.run_of("other", "b").folder / "result.json").unlink()
    frame = Results(study).frame
    compared = comparisons(study, frame)
    assert _row(compared, experiment="other")["verdict"].endswith(" (on 2 of 3 references)")
    text = markdown(build_report(study, compared))
    assert "(on 2 of 3 references)" in text
    (study.run_of("other", "c").folder / "result.json").unlink()
    frame = Results(study).frame
    compared = comparisons(study, frame)
    assert _row(compared, experiment="other")["verdict"] == ONE
    made = latex(build_report(study, compared))
    assert "other (1 of 3 references)" in made and "mathbf" not in made, "a mean over other references is not the best of a column"


def test_a_noise_that_the_baseline_does_not_have_is_compared_with_its_own(tmp_path: Path, study_maker: Any) -> None:
    study = study_maker(tmp_path, _common(effect=0.5), noises=("blend", "inverted"))
    for run in study.runs:
        result = run.result()
        keeps = "inverted" if run.experiment == "other" else "blend"
        cells = [cell for cell in result["cells"] if cell["noise"] == keeps]
        write_json(run.folder / "result.json", {**result, "cells": cells})
    frame = Results(study).frame
    compared = comparisons(study, frame)
    row = _row(compared, experiment="other")
    assert (row["noise"], row["against"], row["references"], row["cells"]) == ("inverted", "blend", 3, 12)
    scores = {name: own.set_index(["reference", "prompt", "seed"])["score"] for name, own in frame.groupby("experiment")}
    assert row["difference"] == pytest.approx((scores["other"] - scores["baseline"]).groupby("reference").mean().mean())
    assert _row(compared, experiment="no_motion")["noise"] == "blend", "what has no such noise is not compared there"
    text = markdown(build_report(study, compared))
    inverted = text[text.index("## Initial noise: inverted") :]
    assert "paired differences from baseline (blend noise), inverted noise" in inverted and "| no_motion" not in inverted


def test_no_motion_that_is_a_replacement_belongs_to_the_family(tmp_path: Path, study_maker: Any) -> None:
    study = study_maker(tmp_path, _common(effect=0.1))
    study.cards[0].replacements.append("no_motion")
    compared = comparisons(study, Results(study).frame)
    assert sorted(compared["p_holm"]) == pytest.approx(sorted(holm(compared["p"].tolist())))


def test_shared_and_missing_runs_have_rows_that_say_so(tmp_path: Path, study_maker: Any) -> None:
    study = study_maker(tmp_path, _common(), experiments=("no_motion", "baseline", "other", "same"))
    study.same_as["same"] = "baseline"
    for reference in "abc":
        (study.run_of("other", reference).folder / "result.json").unlink()
    compared = comparisons(study, Results(study).frame)
    same, missing = _row(compared, experiment="same"), _row(compared, experiment="other")
    assert (same["verdict"], same["difference"]) == (SAME, 0.0) and isnan(same["p"])
    assert missing["verdict"] == "no result" and isnan(missing["difference"]) and missing["references"] == 0


@pytest.mark.parametrize(
    ("metric", "difference", "p", "verdict"),
    [
        ("text_similarity", 0.1, 0.049, "better"),
        ("text_similarity", -0.1, 0.049, "worse"),
        ("fid", 0.1, 0.001, "higher"),
        ("trajectory_error", -0.1, 0.001, "better"),
        ("text_similarity", 0.1, 0.05, UNSURE),
        ("text_similarity", 0.1, float("nan"), UNSURE),
    ],
)
def test_verdicts(metric: str, difference: float, p: float, verdict: str) -> None:
    assert verdict_of(difference, p, metric) == verdict


def test_a_metric_without_a_direction_is_higher_or_lower(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(METRICS["temporal_consistency"], "higher_is_better", None)
    assert (verdict_of(0.1, 0.01, "temporal_consistency"), verdict_of(-0.1, 0.01, "temporal_consistency")) == ("higher", "lower")


def test_a_study_without_results_compares_nothing(tmp_path: Path, study_maker: Any) -> None:
    study = study_maker(tmp_path, _common())
    assert comparisons(study, Results(Study(tmp_path, study.cards, [], [])).frame).empty


def test_studies_without_effects_show_one_in_twenty_at_most(tmp_path: Path, study_maker: Any) -> None:
    """The family-wise error of whole studies: random effects of references and trainings, none of the replacements."""
    rng = np.random.default_rng(0)
    study = study_maker(tmp_path, lambda *where: 0.0, experiments=("no_motion", "baseline", "x", "y", "z"), references="abcd")
    frame = Results(study).frame
    keys = frame[["experiment", "reference", "metric"]].astype(str).agg(" ".join, axis=1)
    wrong = 0
    for _ in range(80):
        levels = dict(zip(keys.unique(), rng.normal(size=keys.nunique()), strict=True))
        compared = comparisons(study, frame.assign(score=keys.map(levels) + rng.normal(size=len(frame))))
        wrong += compared.loc[compared["experiment"] != "no_motion", "verdict"].isin(["better", "worse"]).any()
    assert wrong / 80 <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 80)
