"""Runs on a Ray cluster: the contract of :mod:`~motion_ablation.study.run.local`, on as many machines as there are."""

from __future__ import annotations

import math
import os
from collections import Counter, deque
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import TypeVar
from uuid import uuid4

from motion_ablation.study.run.connection import ClusterError, connect, import_ray
from motion_ablation.study.run.crew import Crew, Lost, Setup
from motion_ablation.study.run.local import WorkerDied

Task = TypeVar("Task")
Outcome = TypeVar("Outcome")

RETRIES = 2  # a run is begun again this often after its worker was lost; what kills its worker each time is the run's own fault
PASSED_ON = ("HF_", "TRANSFORMERS_", "TOKENIZERS_", "MOTION_ABLATION_")  # environment variables, where a node does not set its own


class Cluster:
    """A Ray cluster that runs tasks in long-lived workers, so that a backbone is loaded once per worker. A context manager.

    Args:
        folder: the study's, which every worker must see; so must they the current directory, at the same path.
        address: of a running cluster, such as ``10.0.0.1:6379``; ``auto`` finds one (by ``RAY_ADDRESS``, or on this machine), else starts
            one on this machine; ``local`` always starts one.
        gpus: per run, from 0 to 1, such as 0.5 for two runs on a GPU; None: 1 where the cluster has GPUs, else 0.
        cpus: per run; also its number of threads.
        workers: runs at a time; None: as many as the cluster has room for now. With more, an autoscaling cluster grows.
        retries: how often a task is begun again after its worker or node was lost. A task that raises is not.
        tell: is given a line when something was lost, or when there is no room.

    Raises:
        ClusterError: Ray is missing, the cluster is not reached, or has no room for a single run. ValueError: an impossible demand.
    """

    def __init__(
        self,
        folder: str | Path,
        address: str = "auto",
        gpus: float | None = None,
        cpus: float = 1.0,
        workers: int | None = None,
        retries: int = RETRIES,
        tell: Callable[[str], None] = print,
    ) -> None:
        if gpus is not None and not 0 <= gpus <= 1:
            raise ValueError(f"GPUs per run must be from 0 to 1, not {gpus:g}; `lightning fit --trainer.devices` trains one run on several")
        if not 0 < cpus < math.inf:
            raise ValueError(f"CPUs per run must be more than 0, not {cpus:g}")
        self.folder, self.address, self.gpus, self.cpus = Path(folder).absolute(), address, gpus, cpus
        self.workers, self.retries, self.tell = workers or 0, retries, tell
        self._ours = False

    def __enter__(self) -> Cluster:
        ray = import_ray()
        if not ray.is_initialized():
            connect(ray, self.address)
            self._ours = True
        try:
            nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
            if self.gpus is None:
                self.gpus = 1.0 if any(node.get("GPU") for node in nodes) else 0.0
            self.workers = self.workers or room(nodes, self.cpus, self.gpus)
            if not self.workers:
                raise ClusterError(f"no node of the cluster has {self._demand()}; ask for less, or set --workers where the cluster grows")
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._ours:
            import_ray().shutdown()
            self._ours = False

    def _demand(self) -> str:
        return f"{self.cpus:g} CPU and {self.gpus or 0:g} GPU free for a run"

    def run_all(
        self,
        tasks: list[Task],
        execute: Callable[[Task], Outcome],
        workers: int | None = None,
        started: Callable[[Task], None] = lambda task: None,
    ) -> Iterator[tuple[Task, Outcome | WorkerDied]]:
        """Yields each task with its outcome as it ends; see :func:`motion_ablation.study.run.local.run_all`.

        Args:
            tasks: begun in this order. execute: an importable function that raises nothing.
            workers: at most so many at a time. started: called when a task begins, but not when it begins again.

        Raises:
            ClusterError: a worker does not see the study's folder, or has another version of this package.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        setup = Setup(
            os.getcwd(),
            self.folder / f".probe-{uuid4().hex}",
            uuid4().hex,
            max(1, int(self.cpus)),
            self.gpus or 0.0,
            {key: value for key, value in os.environ.items() if key.startswith(PASSED_ON)},
        )
        setup.probe.write_text(setup.token)
        crew = Crew(import_ray(), setup, self.cpus)
        try:
            yield from self._run(crew, tasks, execute, min(workers or self.workers, len(tasks)), started)
        finally:
            # Everything is written atomically, so a worker can be stopped at any moment.
            crew.dismiss()
            setup.probe.unlink(missing_ok=True)

    def _run(
        self, crew: Crew, tasks: list[Task], execute: Callable[[Task], Outcome], workers: int, started: Callable[[Task], None]
    ) -> Iterator[tuple[Task, Outcome | WorkerDied]]:
        pending, losses, unfinished = deque(range(len(tasks))), Counter[int](), len(tasks)
        for _ in range(workers):
            crew.hire()
        while unfinished:
            while pending and crew.idle:
                index = pending.popleft()
                crew.give(index, execute, tasks[index])
                if not losses[index]:
                    started(tasks[index])
            for index, outcome in crew.wait(self._no_worker):
                if isinstance(outcome, Lost):
                    losses[index] += 1
                    if losses[index] <= self.retries:
                        pending.appendleft(index)
                        if not crew.idle:
                            crew.hire()
                        self.tell(f"lost a worker ({outcome}); its run begins again on another")
                        continue
                    if pending:
                        crew.hire()
                    outcome = WorkerDied(f"its worker was lost {losses[index]} times; the last time, {outcome}")
                unfinished -= 1
                yield tasks[index], outcome

    def _no_worker(self) -> None:
        self.tell(f"no worker has started yet; waiting for a node with {self._demand()}")


def room(nodes: list[dict[str, float]], cpus: float, gpus: float) -> int:
    """How many runs fit on nodes with these resources (``{"CPU": 8, "GPU": 1}``) at a time; none is split over nodes."""
    fitting = 0
    for node in nodes:
        limits = [node.get(name, 0.0) / wanted for name, wanted in (("CPU", cpus), ("GPU", gpus)) if wanted]
        fitting += int(min(limits) + 1e-9)
    return fitting
