"""Control rows: the ceiling and the floor of every metric, from the kept videos, computed once."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from motion_ablation.files import write_json
from motion_ablation.study.analysis import controls as room
from motion_ablation.study.analysis.controls import ITSELF, PARKED, SHUFFLED, Controls, controls
from motion_ablation.study.finished import Finished
from motion_ablation.study.plan.study import Study
from motion_ablation.study.results import Results


@pytest.fixture
def study(tmp_path: Path, kept_study: Any) -> Study:
    return kept_study(tmp_path, references="abc", train_seeds=(0, 1), prompts="p")


def _scores(found: Controls, experiment: str, metric: str) -> pd.DataFrame:
    frame = found.frame
    return frame[(frame["experiment"] == experiment) & (frame["metric"] == metric)]


def test_the_reference_scores_the_best_against_itself_and_its_motion_the_least_against_others(study: Study) -> None:
    frame = Results(study).frame
    found = controls(Results(study))
    assert found.notes == []
    own = frame[(frame["experiment"] == "baseline") & (frame["metric"] == "motion_fidelity")]["score"].mean()
    assert _scores(found, ITSELF, "motion_fidelity")["score"].tolist() == pytest.approx([1, 1, 1])
    assert _scores(found, SHUFFLED, "motion_fidelity")["score"].mean() < own - 0.2
    assert _scores(found, ITSELF, "fid")["score"].tolist() == pytest.approx([0, 0, 0], abs=1e-4)
    assert (_scores(found, SHUFFLED, "fid")["score"] > 0).all()


def test_what_does_not_compare_is_not_changed_by_shuffling(study: Study) -> None:
    frame = Results(study).frame
    found = controls(Results(study))
    own = frame[(frame["experiment"] == "baseline") & (frame["metric"] == "text_similarity")]
    assert _scores(found, SHUFFLED, "text_similarity")["score"].tolist() == own["score"].tolist()
    assert _scores(found, ITSELF, "text_similarity").empty, "a reference has no prompt"


def test_a_shuffled_score_is_the_mean_over_the_other_references(study: Study) -> None:
    found = _scores(controls(Results(study)), SHUFFLED, "motion_fidelity")
    results = Results(study)
    run = next(each for each in results.of("baseline") if (each.run.reference, each.run.train_seed) == ("b", 1))
    cell = run.cells[1]
    metric = run.metric("motion_fidelity")
    others = [first.reference_video()[0] for name in "ca" if (first := results.first("baseline", name))]
    expected = [float(metric.score(run.video(cell)[None], other[None])) for other in others]
    row = found[(found["reference"] == "b") & (found["train_seed"] == 1) & (found["seed"] == cell.seed)]
    assert row["score"].tolist() == pytest.approx([sum(expected) / 2])


def test_each_video_meets_a_few_others_at_most(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "OTHERS", 1)
    results = Results(study)
    run, first = (results.first("baseline", name) for name in "ca")
    assert run and first
    found = _scores(controls(results), SHUFFLED, "fid")
    metric: Any = run.metric("fid")
    videos = [metric.features_of(run.video(cell)[None]) for cell in run.cells]
    other = metric.features_of(first.reference_video()[0][None])
    row = found[(found["reference"] == "c") & (found["train_seed"] == 0)]
    assert row["score"].tolist() == pytest.approx([metric.from_features(torch.cat(videos), other)], rel=1e-3)


def test_they_are_computed_once(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    first = controls(Results(study))
    monkeypatch.setattr(Finished, "metric", lambda *given: pytest.fail("computed again"))
    pd.testing.assert_frame_equal(controls(Results(study)).frame, first.frame)


def test_another_recipe_is_another_control(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    controls(Results(study))
    made = len(list(study.folder.glob(".measured/controls/*.safetensors")))
    index, run = next((index, run) for index, run in enumerate(study.runs) if (run.experiment, run.reference) == ("baseline", "a"))
    write_json(run.folder / "result.json", {**(run.result() or {}), "recipe": "another"})
    study.runs[index] = replace(run, recipe="another")
    controls(Results(study))
    # Its own two ceilings and floors, and the floors of two trainings of two references that it is another of.
    assert len(list(study.folder.glob(".measured/controls/*.safetensors"))) == made + 4 + 8


def test_a_lone_reference_has_no_floor(tmp_path: Path, kept_study: Any) -> None:
    study = kept_study(tmp_path, references="a", prompts="p")
    found = controls(Results(study))
    assert set(found.frame["experiment"]) == {ITSELF}
    assert found.notes == [f"No row '{SHUFFLED}': it needs two references or more."]


def test_what_is_not_kept_is_said(tmp_path: Path, study_maker: Any) -> None:
    study = study_maker(tmp_path, lambda *where: 0.5, metrics=["motion_fidelity"], sets=["fid"])
    found = controls(Results(study))
    assert found.frame.empty and len(found.notes) == 2
    assert found.notes[0] == "Control rows of motion fidelity are incomplete or missing: baseline/a-s0/frames/reference.npz is not there."


def test_without_the_baseline_there_are_none(tmp_path: Path, study_maker: Any) -> None:
    study = study_maker(tmp_path, lambda *where: 0.5)
    for run in study.runs:
        if run.experiment == "baseline":
            (run.folder / "result.json").unlink()
    found = controls(Results(study))
    assert found.frame.empty and "`baseline` has no result" in found.notes[0]


def test_an_object_that_is_parked_has_all_of_the_text_and_no_motion(tmp_path: Path, kept_study: Any) -> None:
    prompts = ["a red circle on a cyan background", "a orange star on a red background"]
    found = controls(Results(kept_study(tmp_path, references="ab", prompts=prompts)))
    text, motion = (_scores(found, PARKED, metric) for metric in ("text_similarity", "motion_fidelity"))
    assert text["prompt"].tolist() == prompts * 2
    assert motion["score"].abs().max() < 0.2 and len(_scores(found, PARKED, "fid")) == 2
