"""Runs on a Ray cluster: the contract of :mod:`~motion_ablation.study.run.local`, on as many machines as there are."""

from __future__ import annotations

import logging
import math
import os
import re
import socket
from collections import Counter, deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar
from uuid import uuid4

from motion_ablation.study.run.local import WorkerDied

Task = TypeVar("Task")
Outcome = TypeVar("Outcome")

RETRIES = 2  # a run is begun again this often after its worker was lost; what kills its worker each time is the run's own fault
PATIENCE = 60.0  # seconds without any worker before it is said
PATIENCE_TO_CONNECT = 10.0  # seconds
OBJECT_STORE = 100_000_000  # bytes, of a cluster started here: results are a few kB
PASSED_ON = ("HF_", "TRANSFORMERS_", "TOKENIZERS_", "MOTION_ABLATION_")  # environment variables, where a node does not set its own
# A cluster manager's variables would make Lightning believe that a worker is one rank of a larger job.
LAUNCHERS = ("SLURM_NTASKS", "SLURM_NTASKS_PER_NODE", "SLURM_JOB_NAME", "TORCHELASTIC_RUN_ID", "LOCAL_RANK", "RANK", "WORLD_SIZE")


class ClusterError(RuntimeError):
    """The cluster cannot run the study; the message names the mend."""


@dataclass(frozen=True)
class _Setup:
    """What a worker needs to know. ``probe`` is a file of the study's folder and ``token`` what it holds."""

    cwd: str
    probe: Path
    token: str
    threads: int
    gpus: float
    environment: dict[str, str]


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
        ray = _import_ray()
        if not ray.is_initialized():
            _connect(ray, self.address)
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
            _import_ray().shutdown()
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
        setup = _Setup(
            os.getcwd(),
            self.folder / f".probe-{uuid4().hex}",
            uuid4().hex,
            max(1, int(self.cpus)),
            self.gpus or 0.0,
            {key: value for key, value in os.environ.items() if key.startswith(PASSED_ON)},
        )
        setup.probe.write_text(setup.token)
        crew = _Crew(_import_ray(), setup, self.cpus)
        try:
            yield from self._run(crew, tasks, execute, min(workers or self.workers, len(tasks)), started)
        finally:
            # Everything is written atomically, so a worker can be stopped at any moment.
            crew.dismiss()
            setup.probe.unlink(missing_ok=True)

    def _run(
        self, crew: _Crew, tasks: list[Task], execute: Callable[[Task], Outcome], workers: int, started: Callable[[Task], None]
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
                if isinstance(outcome, _Lost):
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


class _Lost(str):
    """Why a worker is gone."""


class _Crew:
    """The workers: hired, given tasks, waited for, dismissed.

    Attributes:
        idle: workers that are ready and have no task.
    """

    def __init__(self, ray: Any, setup: _Setup, cpus: float) -> None:
        self.ray, self.setup = ray, setup
        self.kind = ray.remote(_Worker).options(num_cpus=cpus, num_gpus=setup.gpus, max_restarts=0, max_task_retries=0)
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
        """Waits for a worker, and yields the task that ended with its outcome or :class:`_Lost`; nothing for one that has started.

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
                cause = _line(error.cause or error)
                if index is None:
                    raise ClusterError(f"a worker cannot start: {cause}; install the same motion-ablation on every node") from None
                outcome = WorkerDied(f"its worker raised {cause}")
            except self.ray.exceptions.RayError as error:
                self._lost(worker, index, error)
                if index is not None:
                    yield index, _Lost(_cause(error))
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
                raise ClusterError(f"workers keep dying while they start: {_line(error)}; see Ray's logs on the nodes") from None
            self.hire()

    def dismiss(self) -> None:
        """Ends all workers, whatever they do."""
        for worker in [*self.idle, *(worker for worker, _ in self._awaited.values())]:
            with suppress(Exception):  # the cluster itself may be gone
                self.ray.kill(worker)
        self.idle, self._awaited = [], {}


class _Worker:
    """What lives in a worker's process."""

    def __init__(self, setup: _Setup) -> None:
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


def _import_ray() -> Any:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # a worker without GPU says so itself
    try:
        import ray
    except ImportError:
        raise ClusterError("--cluster needs Ray, which is not installed: pip install 'motion-ablation[ray]'") from None
    return ray


def _connect(ray: Any, address: str) -> None:
    """Joins the cluster at ``address``, or starts one here."""
    quiet = {"logging_level": logging.ERROR, "log_to_driver": False}
    given = os.environ.get("RAY_ADDRESS", "auto") if address == "auto" else address
    if given == "auto":
        here = _running_here()
        given = here if here and _answers(here) else "local"
    if given == "local":
        ray.init(address="local", include_dashboard=False, object_store_memory=OBJECT_STORE, **quiet)
        return
    try:
        if not _answers(given):
            raise ConnectionError(f"nothing in {PATIENCE_TO_CONNECT:g} s")
        ray.init(address=given, **quiet)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise ClusterError(f"no Ray cluster answers at {given} ({_line(error)}); start one with: ray start --head") from None


def _running_here() -> str:
    """The address that ``ray start`` left on this machine, even if the cluster has ended since; empty if there is none."""
    folder = os.environ.get("RAY_TMPDIR") or os.environ.get("TMPDIR") or "/tmp"
    try:
        return (Path(folder) / "ray" / "ray_current_cluster").read_text().strip()
    except OSError:
        return ""


def _answers(address: str) -> bool:
    """Whether anything listens there; Ray itself would try for minutes. What this cannot tell counts as an answer."""
    import grpc

    if "://" in address or os.environ.get("RAY_USE_TLS", "0") != "0":
        return True
    with grpc.insecure_channel(address) as channel:
        try:
            grpc.channel_ready_future(channel).result(PATIENCE_TO_CONNECT)
        except grpc.FutureTimeoutError:
            return False
    return True


def _line(error: BaseException) -> str:
    """An error on one line."""
    return " ".join(str(error).split())[:300] or type(error).__name__


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
