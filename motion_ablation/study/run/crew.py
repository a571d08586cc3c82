"""Workers on a Ray cluster: hired, given tasks, waited for, dismissed. Each is a process that executes one task after the other."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

from motion_ablation.study.run.connection import ClusterError, message_of
from motion_ablation.study.run.local import WorkerDied

PATIENCE = 60.0  # seconds without any worker before it is said
# A cluster manager's variables would make Lightning believe that a worker is one rank of a larger job.
LAUNCHERS = ("SLURM_NTASKS", "SLURM_NTASKS_PER_NODE", "SLURM_JOB_NAME", "TORCHELASTIC_RUN_ID", "LOCAL_RANK", "RANK", "WORLD_SIZE")


@dataclass(frozen=True)
class Setup:
    """What a worker needs to know.

    Attributes:
        cwd: the directory to work in. probe: a file in the study's folder, which must hold ``token`` wherever the worker runs. threads:
            of torch. gpus: that it may use. environment: variables to set where its node does not set them itself.
    """

    cwd: str
    probe: Path
    token: str
    threads: int
    gpus: float
    environment: dict[str, str]


class Lost(str):
    """Why a worker is gone."""


class Crew:
    """The workers of a study.

    Attributes:
        idle: workers that are ready and have no task.
    """

    def __init__(self, ray: Any, setup: Setup, cpus: float) -> None:
        self.ray, self.setup = ray, setup
        self.kind = ray.remote(Worker).options(num_cpus=cpus, num_gpus=setup.gpus, max_restarts=0, max_task_retries=0)
        self.idle: list[Any] = []
        self._awaited: dict[Any, tuple[Any, int | None]] = {}  # by reference: the worker, and its task or None while it starts
        self._stillborn = 0

    def hire(self) -> None:
        """Asks for another worker, which is idle once it has started."""
        worker = self.kind.remote(self.setup)
        self._awaited[worker.ready.remote()] = (worker, None)

    def give(self, index: int, execute: Callable[[Any], Any], task: Any) -> None:
        """Has an idle worker execute the task of this index."""
        worker = self.idle.pop()
        self._awaited[worker.run.remote(execute, task)] = (worker, index)

    def wait(self, alone: Callable[[], None]) -> Iterator[tuple[int, Any]]:
        """Waits for a worker, and yields the task that ended with its outcome or :class:`Lost`; nothing for one that has started.

        Args:
            alone: called where all workers keep starting for long.
        """
        ended, _ = self.ray.wait(list(self._awaited), num_returns=1, timeout=PATIENCE)
        if not ended and all(index is None for _, index in self._awaited.values()):
            alone()
        for reference in ended:
            worker, index = self._awaited.pop(reference)
            try:
                outcome = self.ray.get(reference)
            except self.ray.exceptions.RayTaskError as error:
                cause = message_of(error.cause or error)
                if index is None:
                    raise ClusterError(f"a worker cannot start: {cause}; install the same motion-ablation on every node") from None
                outcome = WorkerDied(f"its worker raised {cause}")
            except self.ray.exceptions.RayError as error:
                self._lost(worker, index, error)
                if index is not None:
                    yield index, Lost(_cause(error))
                continue
            if index is None and outcome:
                raise ClusterError(outcome)
            self.idle.append(worker)
            self._stillborn = 0
            if index is not None:
                yield index, outcome

    def _lost(self, worker: Any, index: int | None, error: Exception) -> None:
        with suppress(self.ray.exceptions.RayError):
            self.ray.kill(worker)  # should it still live, out of reach
        if index is None:
            self._stillborn += 1
            if self._stillborn > 3 + 3 * len(self._awaited):
                raise ClusterError(f"workers keep dying while they start: {message_of(error)}; see Ray's logs on the nodes") from None
            self.hire()

    def dismiss(self) -> None:
        """Ends all workers, whatever they do."""
        for worker in [*self.idle, *(worker for worker, _ in self._awaited.values())]:
            with suppress(Exception):  # the cluster itself may be gone
                self.ray.kill(worker)
        self.idle, self._awaited = [], {}


class Worker:
    """What lives in a worker's process."""

    def __init__(self, setup: Setup) -> None:
        self.setup = setup

    def ready(self) -> str:
        """Settles in; returns what is wrong here, in words, or nothing."""
        setup, node = self.setup, socket.gethostname()
        if not setup.gpus:
            os.environ["CUDA_VISIBLE_DEVICES"] = ""
        for key, value in setup.environment.items():
            os.environ.setdefault(key, value)
        for key in LAUNCHERS:
            os.environ.pop(key, None)
        import torch

        torch.set_num_threads(setup.threads)
        try:
            os.chdir(setup.cwd)
        except OSError:
            return f"node {node} has no directory {setup.cwd}; start the study in a directory that all nodes share, by one path"
        folder = setup.probe.parent
        seen = setup.probe.read_text() if setup.probe.is_file() else ""
        if seen != setup.token:
            return f"node {node} does not see the study's folder {folder}; put --output in a directory that all nodes share, by one path"
        mine = setup.probe.with_name(f"{setup.probe.name}-{uuid4().hex}")
        try:
            mine.write_text(setup.token)
            mine.unlink()
        except OSError as error:
            return f"node {node} cannot write to the study's folder {folder} ({error.strerror}); mount it writable there"
        return ""

    def run(self, execute: Callable[[Any], Any], task: Any) -> Any:
        return execute(task)


def _cause(error: BaseException) -> str:
    """Why a worker is gone, from Ray's page-long account of it."""
    text = " ".join(str(error).split())
    place = re.search(r"\bip: (\S+)", text)
    where = f" on {place[1]}" if place else ""
    if "node has died" in text or "node was terminated" in text:
        return f"its node{where} died"
    if "unavailable" in text:
        return f"it{where} no longer answers"
    if "running low on memory" in text:
        return f"its node{where} ran out of memory"
    return f"its process{where} died; out of memory?" if "process has died" in text else text[:200]
