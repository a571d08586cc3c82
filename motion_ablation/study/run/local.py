"""Runs in this process, or in several that may die without taking the others along."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from typing import Any, Generic, TypeVar

Task = TypeVar("Task")
Outcome = TypeVar("Outcome")


VISIBLE = "CUDA_VISIBLE_DEVICES"


class WorkerDied(RuntimeError):
    """A worker process ended in the middle of a task."""


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def gpus() -> list[str]:
    """The NVIDIA devices that this process may use, as ``CUDA_VISIBLE_DEVICES`` names them."""
    import torch

    count = torch.cuda.device_count()
    named = [name for name in os.environ.get(VISIBLE, "").split(",") if name]
    return named[:count] or [str(number) for number in range(count)]


def run_all(
    tasks: list[Task],
    execute: Callable[[Task], Outcome],
    workers: int,
    started: Callable[[Task], None] = lambda task: None,
) -> Iterator[tuple[Task, Outcome | WorkerDied]]:
    """Yields each task with its outcome as it ends.

    Args:
        tasks: begun in this order. execute: an importable function that raises nothing.
        workers: 1 runs them here; more start that many processes, which share the cores, and the GPUs in turn.
        started: called when a task begins.
    """
    workers = min(workers, len(tasks))
    if workers > 1:
        yield from _run_in_processes(tasks, execute, workers, started)
        return
    for task in tasks:
        started(task)
        yield task, execute(task)


@dataclass
class _Worker(Generic[Task]):
    """A process, this end of its pipe, its number among those that live, and what it is doing."""

    process: SpawnProcess
    connection: Connection
    seat: int
    task: Task


def _run_in_processes(
    tasks: list[Task], execute: Callable[[Task], Outcome], workers: int, started: Callable[[Task], None]
) -> Iterator[tuple[Task, Outcome | WorkerDied]]:
    pending = list(reversed(tasks))
    threads = max(1, cores() // workers)
    busy: list[_Worker[Task]] = []
    try:
        while pending or busy:
            while pending and len(busy) < workers:
                task = pending.pop()
                seat = min(set(range(workers)) - {worker.seat for worker in busy})
                busy.append(_start(execute, threads, seat, task))
                started(task)
            ready = wait([worker.connection for worker in busy])
            for worker in [worker for worker in busy if worker.connection in ready]:
                done = worker.task
                try:
                    outcome = worker.connection.recv()
                except (EOFError, OSError):
                    busy.remove(worker)
                    yield done, WorkerDied(_cause(worker))
                    continue
                if pending:
                    worker.task = pending.pop()
                    with suppress(OSError):  # a worker that died just now shows in the next round
                        worker.connection.send(worker.task)
                    started(worker.task)
                else:
                    busy.remove(worker)
                    worker.connection.close()
                yield done, outcome
    finally:
        # Everything is written atomically, so a process can be stopped at any moment.
        for worker in busy:
            worker.process.kill()


def _start(execute: Callable[[Task], Any], threads: int, seat: int, task: Task) -> _Worker[Task]:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_work, args=(theirs, execute, threads), daemon=True)
    heard = signal.signal(signal.SIGINT, signal.SIG_IGN)  # inherited: on Ctrl-C the parent decides
    visible = os.environ.get(VISIBLE)
    devices = gpus()
    try:
        if devices:
            os.environ[VISIBLE] = devices[seat % len(devices)]  # inherited too: what a process imports may look at it
        process.start()
    finally:
        signal.signal(signal.SIGINT, heard)
        if devices:
            os.environ.pop(VISIBLE)
            os.environ.update({} if visible is None else {VISIBLE: visible})
    theirs.close()
    with suppress(OSError):
        ours.send(task)
    return _Worker(process, ours, seat, task)


def _cause(worker: _Worker[Any]) -> str:
    worker.process.join()
    code = worker.process.exitcode or 0
    how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
    return f"its process {how}{'; out of memory?' if code == -signal.SIGKILL else ''}"


def _work(connection: Connection, execute: Callable[[Any], Any], threads: int) -> None:
    """What a worker process does: tasks until the pipe closes."""
    import torch

    threading.Thread(target=_die_with, args=(os.getppid(),), daemon=True).start()
    torch.set_num_threads(min(torch.get_num_threads(), threads))
    while True:
        try:
            task = connection.recv()
        except EOFError:
            return
        connection.send(execute(task))


def _die_with(parent: int) -> None:
    """Ends this process once its parent is gone, so that no orphan writes beside a restarted study."""
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)
