"""Where studies stand, run by run, told from what is on disk."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from motion_ablation.files import is_locked
from motion_ablation.study.plan.run import Run, read_result
from motion_ablation.study.plan.study import Study
from motion_ablation.study.run.progress import in_words

LOCK = ".lock"  # in a study's folder, for as long as it is run
STATES = ("done", "running", "failed", "stale", "missing")


def describe_status(studies: Sequence[Study]) -> tuple[str, bool]:
    """Every run and its state, with the sums, as text; and whether all runs are done."""
    parts, complete = [], True
    for study in studies:
        busy = is_busy(study.folder)
        states = [(run.name, *state_of(run, busy)) for run in study.runs]
        counts = Counter(state for _, state, _ in states)
        sums = ", ".join(f"{counts[state]} {state}" for state in STATES if counts[state])
        parts.append(f"{study.folder}{' (being run now)' if busy else ''}: {len(states)} runs: {sums}")
        parts.append(_lines(states))
        complete = complete and counts["done"] == len(states)
    return "\n\n".join(parts), complete


def state_of(run: Run, busy: bool) -> tuple[str, str]:
    """One of :data:`STATES` and what there is to say about it.

    ``stale`` is a result of another recipe: the configuration, the weights, the reference or the code has changed since.

    Args:
        busy: whether its study is being run now; else a run that has begun and not ended was cut off.
    """
    found = read_result(run.folder) or {}
    if found.get("recipe") == run.recipe:
        return ("done", in_words(found["seconds"])) if found["status"] == "done" else ("failed", found["reason"])
    if "recipe" in found:
        return "stale", "its configuration, weights, reference or code has changed since"
    if not (run.folder / "log.txt").exists():
        return "missing", f"cannot run: {run.error}" if run.error else ""
    return ("running", "") if busy else ("missing", "was cut off")


def is_busy(folder: Path) -> bool:
    """Whether a process is running the study of this folder."""
    return is_locked(folder / LOCK)


def _lines(states: Sequence[tuple[str, str, str]]) -> str:
    """One line per run, what is not done first."""
    width = max((len(name) for name, _, _ in states), default=0)
    ordered = sorted(states, key=lambda each: STATES.index(each[1]), reverse=True)
    return "\n".join(f"  {state:<8} {name:<{width}}  {detail}".rstrip() for name, state, detail in ordered)
