"""Estimates of the time left."""

from __future__ import annotations

from pathlib import Path

import pytest

from motion_ablation.files import write_json
from motion_ablation.study.plan.run import Run
from motion_ablation.study.run.progress import StudyProgress, in_words, time_left


def test_nothing_is_claimed_before_a_run_has_finished() -> None:
    assert time_left({}, [True, True], [(True, 5.0)], 1) is None


def test_kinds_of_runs_have_their_own_durations() -> None:
    durations = {True: [100.0, 120.0], False: [20.0]}
    assert time_left(durations, [True, True, False], [], 1) == pytest.approx(240)
    assert time_left(durations, [True, True, False], [], 2) == pytest.approx(120)


def test_an_unknown_kind_takes_the_mean_of_the_others() -> None:
    assert time_left({True: [100.0]}, [False], [], 1) == pytest.approx(100)


def test_what_runs_already_counts_for_what_is_left_of_it() -> None:
    assert time_left({True: [100.0]}, [], [(True, 30.0)], 2) == pytest.approx(70), "one run cannot be split between two workers"
    assert time_left({True: [100.0]}, [True], [(True, 30.0), (True, 400.0)], 2) == pytest.approx(85)


def test_what_finished_now_tells_more_than_what_finished_before(tmp_path: Path) -> None:
    """Trainings took 1000 s once; the first of now found its embedding kept."""
    runs = [Run(f"e{number}", "r", tmp_path / f"e{number}" / "r", [], "recipe", True) for number in range(3)]
    write_json(runs[0].folder / "result.json", {"status": "done", "recipe": "recipe", "seconds": 1000.0})
    progress = StudyProgress(runs, 1)
    assert progress.left() == "about 33.3 min left"
    progress.started(runs[1])
    progress.finished(runs[1], {"status": "done"})
    assert progress.left() == "about 0 s left"


@pytest.mark.parametrize(("seconds", "words"), [(3.4, "3 s"), (99, "99 s"), (150, "2.5 min"), (7200, "2.0 h")])
def test_durations_in_words(seconds: float, words: str) -> None:
    assert in_words(seconds) == words
