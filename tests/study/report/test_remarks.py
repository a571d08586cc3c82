"""What is said beside the numbers: warnings, lost tracks, and what verdicts speak of."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from motion_ablation.study.report.remarks import cautions, generalises


def test_what_the_protocols_say_against_a_metric_is_told_once() -> None:
    few = {"warning": "16 frames < 64 feature dimensions: singular covariance, biased distance"}
    protocols = [{"fid": few, "motion_fidelity": {"lost_tracks": lost}, "kid": few} for lost in (0.2, 0.7)]
    finished = [SimpleNamespace(protocols=each) for each in protocols]
    notes = cautions(SimpleNamespace(study=SimpleNamespace(metrics=["fid", "motion_fidelity"]), finished=finished))  # type: ignore[arg-type]
    assert len(notes) == 2 and notes[0].startswith("fid: 16 frames < 64") and "20% to 70% of a run's tracks were lost" in notes[1]


@pytest.mark.parametrize(
    ("prompts", "words"),
    [
        ({"a": "pq"}, "no verdicts"),
        ({"a": "pq", "b": "pq"}, "and of these prompts, which all share"),
        ({"a": "pq", "b": "rs"}, "other references, prompts, noises and trainings"),
    ],
)
def test_what_verdicts_speak_of_depends_on_what_was_drawn_anew(prompts: dict[str, str], words: str) -> None:
    finished: Any = [
        SimpleNamespace(run=SimpleNamespace(reference=name), cells=[SimpleNamespace(prompt=prompt) for prompt in own])
        for name, own in prompts.items()
    ]
    assert words in generalises(SimpleNamespace(finished=finished))  # type: ignore[arg-type]
