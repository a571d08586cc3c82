"""Held-out references: an error known by hand, damage that is what it says, intervals over references."""

from __future__ import annotations

from dataclasses import replace
from math import isnan

import numpy as np
import pytest
import torch

from motion_ablation.data.world.builtin import builtin
from motion_ablation.data.world.shapes import Scene, draw, trajectory
from motion_ablation.evaluation.calibration.held_out import DAMAGES, HELD_OUT, SPINS, damaged_ladder, screen_error
from motion_ablation.evaluation.calibration.ladders import REFERENCES
from motion_ablation.evaluation.calibration.measure import interval, spearman
from motion_ablation.evaluation.calibration.robust import PEERS, rank_held_out, summary


def test_error_on_screen_of_motions_known_by_hand() -> None:
    right, left, still = (
        trajectory(Scene("square", "red", "green", motion=m), 16) for m in ("moving right", "moving left", "standing still")
    )
    assert screen_error(right, right) == 0
    assert screen_error(right, left) == pytest.approx(9 / 25 * np.abs(2 * np.linspace(-0.5, 0.5, 16)).mean(), abs=1e-6)
    elsewhere = replace(still, center=still.center + np.float32([0.3, 0.4]))
    assert screen_error(still, elsewhere) == pytest.approx(9 / 25 * 0.5, abs=1e-6), "nothing is aligned"
    pan = trajectory(Scene("square", "red", "green", camera="panning right"), 16)
    assert screen_error(still, pan) == pytest.approx(0.4 * np.abs(np.linspace(-1, 1, 16)).mean(), abs=1e-5), "all points alike"


def test_held_out_references_are_no_built_in_ones() -> None:
    assert not set(HELD_OUT) & set(REFERENCES) and len(HELD_OUT) - len(SPINS) >= 8
    own = [(scene.motion, scene.camera) for scene in (builtin(name).scene for name in REFERENCES) if scene]
    assert not [name for name, (scene, _) in HELD_OUT.items() if (scene.motion, scene.camera) in own]


@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_changes_videos_and_not_the_reference(damage: str) -> None:
    source, ladder = damaged_ladder("swinging", damage, frames=8)
    clean_source, clean = damaged_ladder("swinging", "as drawn", frames=8)
    assert ladder[0][0].family == "right" and ladder[0][0].error == 0
    assert all(video.shape == source.shape and 0 <= video.min() and video.max() <= 1 for _, video in ladder)
    if source.shape == clean_source.shape:
        assert torch.equal(source, clean_source)
        assert torch.equal(ladder[0][1], clean[0][1]) == (damage == "as drawn")


def test_a_wide_frame_shows_the_square_one_in_its_middle() -> None:
    scene, _ = HELD_OUT["swinging"]
    truth = trajectory(scene, 4)
    for size, inside in (((64, 112), np.s_[..., 24:88]), ((112, 64), np.s_[..., 24:88, :])):
        wide = draw(scene, truth, size)
        assert wide.shape == (4, 3, *size) and np.allclose(wide[inside], draw(scene, truth), atol=1e-4)


def test_intervals_are_over_references() -> None:
    mean, low, high = interval([0.8, 0.9, float("nan"), 1.0])
    assert mean == pytest.approx(0.9) and high - mean == pytest.approx(mean - low) == pytest.approx(4.3027 * 0.1 / 3**0.5, abs=1e-4)
    assert isnan(interval([0.5])[1]) and isnan(interval([])[0])
    assert spearman([1, 2, 3, 4], [4.0, 3.0, float("nan"), 1.0]) == pytest.approx(-1) and isnan(spearman([1, 2], [1, 2]))


def test_a_held_out_motion_is_ranked() -> None:
    rows = rank_held_out(["falling, ever faster"], ["as drawn"], frames=8)
    by_protocol = {row["protocol"]: row for row in rows}
    assert (
        by_protocol["calibrated"]["spearman"] < -0.7
        and by_protocol["calibrated"]["right"] > 0.7 > 0 > by_protocol["calibrated"]["opposite"]
    )
    assert all(by_protocol[peer]["spearman"] > 0 and by_protocol[peer]["right"] < by_protocol[peer]["opposite"] for peer in PEERS)
    assert {row["references"] for row in summary(rows)} == {"without spin"} and all(row["count"] == 1 for row in summary(rows))
