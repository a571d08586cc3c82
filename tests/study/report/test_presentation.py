"""What tables show instead of the raw scores, by hand."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from motion_ablation.metrics import METRICS
from motion_ablation.study.analysis.controls import ITSELF, SHUFFLED, Controls, Scale
from motion_ablation.study.analysis.statistics import comparisons
from motion_ablation.study.plan.study import Study
from motion_ablation.study.report.formats import RAW
from motion_ablation.study.report.presentation import cautions, shown
from motion_ablation.study.results import Results, as_frame

METRIC = "motion_fidelity"


@pytest.fixture
def study(tmp_path: Path, study_maker: Any, monkeypatch: pytest.MonkeyPatch) -> Study:
    """Random scores; the metric rescales."""
    rng = np.random.default_rng(0)
    monkeypatch.setattr(METRICS[METRIC], "rescales", True)
    return study_maker(tmp_path, lambda *where: rng.random(), metrics=["text_similarity", METRIC], noises=("random", "blend"))


def _controls(noises: tuple[str, ...] = ("random",)) -> Controls:
    """Floor 0.25, ceiling 0.75."""
    rows = [(ITSELF, "", "a", 0, "", None, noise, METRIC, 0.75) for noise in noises]
    rows += [(SHUFFLED, "", "a", 0, "p", seed, noise, METRIC, score) for noise in noises for seed, score in enumerate((0.2, 0.3))]
    return Controls(as_frame(rows), ["A note."])


def test_a_rescaled_metric_runs_from_floor_to_ceiling_and_stays_raw_beside(study: Study) -> None:
    frame = Results(study).frame
    found = shown(study, frame, _controls())
    mine = found.frame[(found.frame["noise"] == "random") & ~found.frame["experiment"].isin([ITSELF, SHUFFLED])]
    raw = frame[(frame["metric"] == METRIC) & (frame["noise"] == "random")]["score"]
    assert mine[mine["metric"] == METRIC]["score"].tolist() == pytest.approx(((raw - 0.25) / 0.5).tolist())
    assert mine[mine["metric"] == METRIC + RAW]["score"].tolist() == raw.tolist()
    controls = found.frame[found.frame["metric"] == METRIC].groupby("experiment")["score"].mean()
    assert (controls[ITSELF], controls[SHUFFLED]) == pytest.approx((1, 0))
    assert found.columns(study.metrics, "random") == ["text_similarity", METRIC, METRIC + RAW]
    assert found.notes[0] == "A note."
    assert (
        "motion fidelity, random noise: 0 is the mean of 'shuffled reference' (0.250), 1 that of 'reference itself' (0.750)." in found.notes
    )


def test_without_both_controls_it_is_raw_and_that_is_said(study: Study) -> None:
    frame = Results(study).frame
    found = shown(study, frame, _controls())
    blend = found.frame[(found.frame["noise"] == "blend") & (found.frame["metric"] == METRIC)]
    assert blend["score"].tolist() == frame[(frame["noise"] == "blend") & (frame["metric"] == METRIC)]["score"].tolist()
    assert found.columns(study.metrics, "blend") == ["text_similarity", METRIC]
    assert any("shown as it was scored under blend noise" in note for note in found.notes)


def test_the_scores_given_are_left_alone(study: Study) -> None:
    frame = Results(study).frame
    before = frame.copy()
    shown(study, frame, _controls())
    shown(study, frame, Controls(as_frame([]), []))
    pd.testing.assert_frame_equal(frame, before)


def test_comparisons_are_in_the_units_of_the_table(study: Study) -> None:
    frame = Results(study).frame
    compared = comparisons(study, frame)
    found = shown(study, frame, _controls())
    assert found.scales == {(METRIC, "random"): Scale(0.25, 0.75)}
    scaled = found.comparisons(compared)
    chosen = (compared["metric"] == METRIC) & (compared["noise"] == "random")
    for name in ("difference", "low", "high", "detectable"):
        assert scaled[chosen][name].tolist() == pytest.approx((2 * compared[chosen][name]).tolist())
        assert scaled[~chosen][name].tolist() == compared[~chosen][name].tolist()
    assert scaled["p"].tolist() == compared["p"].tolist()


def test_what_is_beyond_the_floor_is_the_difference_on_the_same_cell(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(METRICS["text_similarity"], "beyond_floor", True)
    frame = Results(study).frame
    found = shown(study, frame, Controls(as_frame([]), []))
    cells = ["reference", "prompt", "seed", "noise"]
    scores = frame[frame["metric"] == "text_similarity"].pivot_table(index=cells, columns="experiment", values="score")
    beyond = found.frame[found.frame["metric"] == "text_similarity"].pivot_table(index=cells, columns="experiment", values="score")
    assert np.allclose(beyond["other"], scores["other"] - scores["no_motion"]) and (beyond["no_motion"] == 0).all()
    assert "text_similarity" + RAW in found.columns(study.metrics, "blend")


def test_without_the_floor_it_is_raw_and_that_is_said(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(METRICS["text_similarity"], "beyond_floor", True)
    frame = Results(study).frame
    frame = frame[frame["experiment"] != "no_motion"].reset_index(drop=True)
    found = shown(study, frame, Controls(as_frame([]), []))
    assert "text_similarity" + RAW not in found.columns(study.metrics, "blend")
    assert any("`no_motion`, beyond which it is to be shown, has no result" in note for note in found.notes)


def test_what_the_protocols_say_against_a_metric_is_told_once() -> None:
    few = {"warning": "16 frames < 64 feature dimensions: singular covariance, biased distance"}
    protocols = [{"fid": few, "motion_fidelity": {"lost_tracks": lost}, "kid": few} for lost in (0.2, 0.7)]
    finished = [SimpleNamespace(protocols=each) for each in protocols]
    notes = cautions(SimpleNamespace(study=SimpleNamespace(metrics=["fid", "motion_fidelity"]), finished=finished))  # type: ignore[arg-type]
    assert len(notes) == 2 and notes[0].startswith("fid: 16 frames < 64") and "20% to 70% of a run's tracks were lost" in notes[1]
