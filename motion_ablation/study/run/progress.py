"""How far a study is, on a terminal and in a log alike."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.text import Text

from motion_ablation.study.plan.run import Run


def time_left(
    durations: dict[bool, list[float]], pending: Sequence[bool], running: Sequence[tuple[bool, float]], workers: int
) -> float | None:
    """Seconds until the end, from the mean duration of finished runs; None before any has finished.

    Args:
        durations: of finished runs, by whether they train. pending: of runs not begun, whether they train.
        running: the same with the seconds each has run already. workers: how many run at a time.
    """
    known = [seconds for group in durations.values() for seconds in group]
    if not known:
        return None
    mean = {trains: _mean(group or known) for trains, group in ((kind, durations.get(kind, [])) for kind in (True, False))}
    now = [max(0.0, mean[trains] - seconds) for trains, seconds in running]
    later = [mean[trains] for trains in pending]
    return max([(sum(now) + sum(later)) / workers, *now])


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)


def in_words(seconds: float) -> str:
    """``42 s``, ``3.5 min`` or ``2.1 h``."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.1f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


class StudyProgress:
    """Prints a line per finished run, and beneath them a bar where there is a terminal. A context manager.

    Args:
        runs: all runs of the study. Those that were finished before count as done. Their durations serve for the estimate until a run of
            the same kind (one that trains, or one that does not) finishes: the cache and the load of the machine may have changed since.
    """

    def __init__(self, runs: Sequence[Run], workers: int) -> None:
        self.workers = workers
        self.console = Console(file=sys.stdout)
        self.began = time.monotonic()
        self.durations: dict[bool, list[float]] = {}
        self.earlier: dict[bool, list[float]] = {}
        self.pending: list[Run] = []
        self.running: dict[str, tuple[Run, float]] = {}
        self.total, self.done = len(runs), 0
        for run in runs:
            result = run.result()
            if result is not None and result["status"] == "done":
                self.done += 1
                self.earlier.setdefault(run.trains, []).append(result["seconds"])
            else:
                self.pending.append(run)
        self._bar = self._make_bar()
        self._task: TaskID = self._bar.add_task("", total=self.total, completed=self.done)

    def _make_bar(self) -> Progress:
        columns: list[ProgressColumn] = [
            TextColumn("runs"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            _Left(self),
            TextColumn("{task.description}", style="dim"),
        ]
        quiet = not self.console.is_terminal
        return Progress(*columns, console=self.console, disable=quiet, redirect_stdout=False, redirect_stderr=False, refresh_per_second=2)

    def __enter__(self) -> StudyProgress:
        self._bar.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._bar.stop()

    def started(self, run: Run) -> None:
        """A run begins."""
        self.pending.remove(run)
        self.running[run.name] = (run, time.monotonic())
        self._bar.update(self._task, description=", ".join(self.running))

    def finished(self, run: Run, result: dict[str, Any]) -> None:
        """A run has ended, well or not."""
        _, began = self.running.pop(run.name)
        seconds = time.monotonic() - began
        self.done += 1
        if result["status"] == "done":
            self.durations.setdefault(run.trains, []).append(seconds)
        self._bar.update(self._task, completed=self.done, description=", ".join(self.running))
        outcome = f"done in {in_words(seconds)}" if result["status"] == "done" else f"FAILED: {result['reason']}"
        self.say(f"[{self.done}/{self.total}] {run.name}: {outcome}; {in_words(time.monotonic() - self.began)} elapsed, {self.left()}")

    def left(self) -> str:
        """The time left, in words."""
        now = time.monotonic()
        running = [(run.trains, now - began) for run, began in self.running.values()]
        if not running and not self.pending:
            return "nothing left"
        seconds = time_left(self.earlier | self.durations, [run.trains for run in self.pending], running, self.workers)
        return "time left not known yet" if seconds is None else f"about {in_words(seconds)} left"

    def say(self, line: str) -> None:
        """Prints a line above the bar, as it is."""
        self.console.print(line, markup=False, highlight=False, soft_wrap=True)
        self.console.file.flush()


class _Left(ProgressColumn):
    """The time left, as a column of the bar."""

    def __init__(self, progress: StudyProgress) -> None:
        super().__init__()
        self.progress = progress

    def render(self, task: Any) -> Text:
        return Text(self.progress.left())
