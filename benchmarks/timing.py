"""Paired timing of variants on a noisy machine: rounds in turn, the median of each round's ratio, and its interval."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import psutil
import torch
from scipy.stats import bootstrap

BUSY_LOAD, BUSY_SHARE = 0.5, 20.0


@dataclass(frozen=True)
class Times:
    """Seconds of each round: by the clock, and of this process' processor time (all threads), which other processes disturb less."""

    wall: list[float]
    cpu: list[float]


@dataclass(frozen=True)
class Ratio:
    """Median over rounds of ``a / b`` within a round; ``low`` and ``high`` bound its 95 % bootstrap interval over rounds."""

    median: float
    low: float
    high: float
    rounds: int


@dataclass
class Row:
    """One line of the report.

    Attributes:
        part: letter of the question. name: what over what. target: the ratio to stay under, or None. note: how it was had.
        raw: what the ratio was computed from, for the JSON file.
    """

    part: str
    name: str
    ratio: Ratio
    target: float | None = None
    note: str = ""
    raw: dict[str, Any] = field(default_factory=dict)


def ratio(over: list[float], under: list[float], seed: int = 0) -> Ratio:
    """See :class:`Ratio`. The k-th entries of both lists were measured in the same round."""
    if not over or len(over) != len(under):
        raise ValueError(f"a ratio needs as many rounds of one as of the other, not {len(over)} and {len(under)}")
    each = np.asarray(over, dtype=float) / np.asarray(under, dtype=float)
    median = float(np.median(each))
    if len(each) < 2 or np.ptp(each) == 0:
        return Ratio(median, float(each.min()), float(each.max()), len(each))
    interval = bootstrap(
        (each,), np.median, method="percentile", n_resamples=4000, vectorized=True, rng=np.random.default_rng(seed)
    ).confidence_interval
    return Ratio(median, float(interval.low), float(interval.high), len(each))


def interleave(variants: Mapping[str, Callable[[], Any]], rounds: int, warmup: int = 3, device: str = "cpu") -> dict[str, Times]:
    """Runs every variant once a round, beginning with another one each round, so that drift and caches meet all of them alike.

    Args:
        variants: what to run, by name. rounds: measured; ``warmup``: run before and thrown away. device: waited for on an accelerator.
    """
    names = list(variants)
    times = {name: Times([], []) for name in names}
    for number in range(-warmup, rounds):
        first = number % len(names)
        for name in names[first:] + names[:first]:
            wall, cpu = timed(variants[name], device)
            if number >= 0:
                times[name].wall.append(wall)
                times[name].cpu.append(cpu)
    return times


def timed(run: Callable[[], Any], device: str = "cpu") -> tuple[float, float]:
    """Seconds of one call, by the clock and by the processor."""
    began = now(device)
    run()
    ended = now(device)
    return ended[0] - began[0], ended[1] - began[1]


def now(device: str = "cpu") -> tuple[float, float]:
    """The clock and the processor's time, once an accelerator's queue is empty."""
    if device.startswith("cuda"):
        torch.cuda.synchronize()
    return time.perf_counter(), time.process_time()


@contextmanager
def threads(count: int) -> Iterator[None]:
    """Torch uses ``count`` threads inside this context."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def machine(device: str = "cpu") -> dict[str, Any]:
    """What the numbers belong to: processor, threads, versions, and how busy the machine was before anything was measured."""
    busy = float(psutil.cpu_percent(interval=2.0))
    return {
        "processor": torch.cuda.get_device_name() if device.startswith("cuda") else processor(),
        "cores": psutil.cpu_count(logical=False) or os.cpu_count(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "allocator": os.environ.get("GLIBC_TUNABLES", ""),
        "load": round(os.getloadavg()[0], 2),
        "busy_percent": busy,
        "idle": busy < BUSY_SHARE and os.getloadavg()[0] < BUSY_LOAD * (os.cpu_count() or 1) + BUSY_LOAD,
    }


def processor() -> str:
    """The processor's name, if the system tells."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            return next((line.split(":", 1)[1].strip() for line in file if line.startswith("model name")), platform.machine())
    except OSError:
        return platform.processor() or platform.machine()


def table(rows: list[Row]) -> str:
    """The rows in Markdown; a target is met if the median is no larger."""
    lines = ["| | ratio | median | 95 % interval | rounds | target | |", "|:--|:--|--:|:--|--:|--:|:--|"]
    for row in rows:
        r = row.ratio
        target = "" if row.target is None else f"{'met' if r.median <= row.target else 'missed'} (≤ {row.target:g})"
        spread = f"{r.low:.3f} to {r.high:.3f}" if r.rounds > 1 else "one round"
        lines.append(f"| {row.part} | {row.name} | {r.median:.3f} | {spread} | {r.rounds} | {target} | {row.note} |")
    return "\n".join(lines)


def plain(rows: list[Row]) -> list[dict[str, Any]]:
    """The rows for a JSON file."""
    return [asdict(row) for row in rows]
