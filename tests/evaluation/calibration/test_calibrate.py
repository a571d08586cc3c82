"""The calibration itself: what it measures on few videos, and the report it writes. The targets are checked among the slow tests."""

from __future__ import annotations

import json
from math import isnan
from pathlib import Path

import pytest
from PIL import Image

from motion_ablation.evaluation.calibration.broken import KINDS, beats_good
from motion_ablation.evaluation.calibration.measure import TARGETS, rank_motion
from motion_ablation.evaluation.calibration.report import calibrate
from motion_ablation.evaluation.calibration.robust import PEERS, summary
from motion_ablation.files import to_json
from motion_ablation.metrics import METRICS


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict]:
    folder = tmp_path_factory.mktemp("calibration")
    held_out, damages = ["falling, ever faster", "spinning"], ["as drawn", "wide frames (64 x 112)"]
    return folder, calibrate(folder, references=["slide"], looks=2, frames=8, quiet=True, held_out=held_out, damages=damages)


def test_report_holds_every_measure_and_figure(report: tuple[Path, dict]) -> None:
    folder, found = report
    assert json.loads((folder / "report.json").read_text()) == json.loads(to_json(found))
    text = (folder / "report.md").read_text()
    assert all(f"| {row['metric']} |" in text for row in found["motion"]) and "target 0.95" in text
    for name in ("cases.png", "ladders.png", "set_bias.png"):
        assert f"]({name})" in text and Image.open(folder / name).size[0] > 300
    assert all(words in text for words in ("| wide frames (64 x 112) | calibrated | without spin (1) |", "| as drawn | dmt | spin (1) |"))
    assert len((folder / "rungs.csv").read_text().splitlines()) == 1 + 2 * 18


def test_default_motion_fidelity_sees_motion_and_consistency_does_not(report: tuple[Path, dict]) -> None:
    by_name = {row["metric"]: row for row in report[1]["motion"]}
    assert by_name["motion_fidelity"]["spearman"] < -0.9
    assert by_name["motion_fidelity"]["spearman"] < by_name["motion_fidelity two_way"]["spearman"] - 0.1
    assert by_name["motion_fidelity"]["right_minus_opposite"] > 1.5 > by_name["motion_fidelity two_way"]["right_minus_opposite"]
    assert abs(by_name["temporal_consistency"]["spearman"]) < 0.9
    singles = {name for name in METRICS if METRICS[name].per_sample and "prompt" not in METRICS[name].reads}
    assert singles - {"subject_consistency"} <= set(by_name)


def test_broken_videos_show_every_metric_s_blind_spots(report: tuple[Path, dict]) -> None:
    rows = {row["metric"]: row for row in report[1]["broken"]}
    assert set(METRICS) - {"subject_consistency"} <= set(rows) and all(set(KINDS) < set(row) for row in rows.values())
    blind = {name: {kind for kind in KINDS if kind != "good" and beats_good(row, kind)} for name, row in rows.items()}
    assert {"black", "grey", "frozen"} <= blind["temporal_consistency"]
    assert "copy" in blind["fid"] and "copy" in blind["motion_fidelity"] and "copy" not in blind["text_similarity"]
    assert {"frozen", "opposite", "parked", "noise", "reversed"}.isdisjoint(blind["motion_fidelity"])
    assert rows["trajectory_error"]["parked"] > 0.2 > 0.1 > rows["trajectory_error"]["good"]
    assert rows["appearance_leakage"]["copy"] == pytest.approx(1, abs=1e-5)
    assert isnan(rows["motion_fidelity"]["black"]), "without tracks there is no score"


def test_text_and_leakage_rank_attributes(report: tuple[Path, dict]) -> None:
    text, leakage = report[1]["text_similarity"], report[1]["appearance_leakage"]
    assert text["spearman"] < -TARGETS["text_similarity"] and text["means"]["0"] > text["means"]["3"] + 0.3
    assert leakage["spearman"] > 0.9


def test_bias_of_fid_and_not_of_kid_falls_with_n(report: tuple[Path, dict]) -> None:
    small, large = (row for row in report[1]["set_bias"] if row["n"] in (16, 128))
    assert small["fid"] > 2 * large["fid"] > 0
    assert abs(small["kid"]) < 3 * small["kid_sd"] + 1e-4


def test_cases_are_ordered_by_the_calibrated_protocol_only(report: tuple[Path, dict]) -> None:
    rows = report[1]["cases"]
    assert all(row["calibrated same"] > row["calibrated other"] + 0.4 for row in rows)
    assert any(row["two_way other"] > 0.95 for row in rows)


def test_one_look_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="looks must be at least 2"):
        calibrate(tmp_path, looks=1)


def test_a_held_out_motion_is_ranked(report: tuple[Path, dict]) -> None:
    rows = [row for row in report[1]["held_out"] if row["reference"] == "falling, ever faster" and row["damage"] == "as drawn"]
    by_protocol = {row["protocol"]: row for row in rows}
    assert (
        by_protocol["calibrated"]["spearman"] < -0.7
        and by_protocol["calibrated"]["right"] > 0.7 > 0 > by_protocol["calibrated"]["opposite"]
    )
    assert all(by_protocol[peer]["spearman"] > 0 and by_protocol[peer]["right"] < by_protocol[peer]["opposite"] for peer in PEERS)
    assert {row["references"] for row in summary(rows)} == {"without spin"} and all(row["count"] == 1 for row in summary(rows))


@pytest.mark.slow
def test_targets_are_reached_with_the_default_tracker() -> None:
    _, ranked = rank_motion(("orbit", "slide", "bounce", "zoom", "pan"), 2, ["opencv"])
    assert abs(ranked[0]["spearman"]) >= TARGETS["motion_fidelity"] and ranked[0]["metric"] == "motion_fidelity"
