"""Running a study: which runs, in which order, one process at a time in a study's folder."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import torch

from motion_ablation import files
from motion_ablation.study.plan.run import Run
from motion_ablation.study.plan.study import Study
from motion_ablation.study.run.execute import execute
from motion_ablation.study.run.failures import record_failure
from motion_ablation.study.run.local import WorkerDied, cores, gpus, run_all
from motion_ablation.study.run.progress import StudyProgress
from motion_ablation.study.run.status import LOCK


class StudyBusy(RuntimeError):
    """Another process is running the same study."""


def default_workers() -> int:
    """How many runs at a time: one per GPU; on a CPU two, each on a core of its own, which is faster than one on both."""
    if torch.cuda.is_available() or torch.backends.mps.is_available():
        return max(1, len(gpus()))
    return min(2, cores())


def run_study(study: Study, workers: int, run_all: Callable[..., Any] = run_all) -> bool:
    """Runs what is not finished yet; returns whether all runs are.

    Args:
        workers: runs at a time. run_all: where they run: in processes of this machine, or :meth:`Cluster.run_all`.

    Raises:
        StudyBusy: if another process is at it.
    """
    study.folder.mkdir(parents=True, exist_ok=True)
    with locked(study.folder):
        study.save()
        pending = [run for run in study.runs if not run.finished]
        with StudyProgress(study.runs, workers) as progress:
            progress.say(_announcement(study, pending, workers))
            for run, outcome in run_all(in_best_order(pending), execute, workers, progress.started):
                if isinstance(outcome, WorkerDied):
                    outcome = record_failure(run, outcome, 0.0)
                progress.finished(run, outcome)
    return all(run.finished for run in study.runs)


def in_best_order(runs: list[Run]) -> list[Run]:
    """The order in which to start runs.

    Runs of one backbone follow each other, because a process loads a backbone once and holds one at a time. Among them, those that train
    a new embedding come first: they take longest, and the others need not wait for an embedding that is still being trained.
    """
    backbones = list(dict.fromkeys(run.backbone for run in runs))
    embeddings: set[str] = set()
    places = {}
    for run in runs:
        trains_first = run.trains and run.embedding not in embeddings
        places[run.name] = backbones.index(run.backbone), 0 if trains_first else 1
        embeddings.add(run.embedding)
    return sorted(runs, key=lambda run: places[run.name])


def _announcement(study: Study, pending: list[Run], workers: int) -> str:
    finished = len(study.runs) - len(pending)
    same = "".join(f"; {name} is the same configuration as {owner} and shares its runs" for name, owner in study.same_as.items())
    references = f"{len(study.references)} reference{'s' * (len(study.references) > 1)} ({', '.join(study.references)})"
    plan = f"{len(study.experiments)} experiments on {references}"
    return f"{study.folder}: {plan}: {len(study.runs)} runs, {finished} finished before, {workers} at a time{same}"


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keeps a second process out of a study for as long as the block, or this process, lasts."""
    with ExitStack() as held:
        try:
            held.enter_context(files.locked(folder / LOCK, wait=1.0))  # `status`, which only looks, is gone by then
        except TimeoutError:
            raise StudyBusy(f"{folder}: another process is running this study; wait for it, or choose another --output") from None
        yield
