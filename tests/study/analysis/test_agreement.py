"""The metric of motion against the truth, on a study's own videos."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from motion_ablation.study.analysis.agreement import agreement
from motion_ablation.study.results import as_frame


def test_agreement_of_motion_with_the_true_path_is_told_over_references() -> None:
    """One reference agrees in full, the other in two of three pairs of ranks less; a fourth video each lost its object."""
    fidelity = {"a": (0.1, 0.2, 0.3, float("nan")), "b": (0.1, 0.3, 0.2, float("nan"))}
    rows = []
    for reference, scores in fidelity.items():
        for prompt, score in zip("pqrs", scores, strict=True):
            found = {"motion_fidelity": score, "trajectory_error": -"pqrs".index(prompt) / 10, "direction": "pqrs".index(prompt) % 2}
            rows += [("x", "", reference, 0, prompt, 0, "random", metric, value) for metric, value in found.items()]
    results: Any = SimpleNamespace(frame=as_frame(rows))
    (told,) = agreement(results)
    assert "-0.75 [-1.00, +1.00] with trajectory error and +" in told and "judged 6 of 8 videos" in told
    results.frame = results.frame[results.frame["metric"] != "direction"]
    assert agreement(results) == []
