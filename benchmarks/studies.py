"""(c) and the rest of (d): a study against its experiments run alone, each in a fresh process with an empty cache.

Reduced to one reference and few steps, every process is real: the commands are ``motion-ablation run`` and ``lightning fit``. What the
default study would take is extrapolated by this model, whose unit costs are measured inside those same processes by a profiler:

* alone: ``T(full) = T(reduced) + (steps - reduced steps) * s + batches * v * (k - 1)`` for each experiment, times the references;
  ``s`` is the mean training step, ``v`` one batch of videos from random noise, ``k`` how many times more sampling steps;
* study: the same for each of its runs, which are then dealt out to the workers in the order that the study takes them; to that is
  added what the reduced study took before its first run, after its last, and between two runs.

The default study's other references cost the same: their clips are of the same size. ``full`` runs everything for real instead.
"""

from __future__ import annotations

import heapq
import json
import os
import shutil
import subprocess
import sys
import time
import uuid
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from statistics import median
from threading import Event, Thread
from typing import Any

import psutil
import yaml
from lightning.pytorch.profilers import Profiler

from benchmarks.timing import Row, ratio

ROOT = Path(__file__).parents[1]
BIN = Path(sys.executable).parent
CARDS = ("integration", "mqk_spatial")
STEPS, SAMPLING, FULL_STEPS, FULL_SAMPLING = 24, 5, 400, 20
WITHIN = 0.5


class Stages(Profiler):
    """Writes how long training steps and batches of videos took, in seconds, to a file of ``folder``, when a run ends."""

    def __init__(self, folder: str) -> None:
        super().__init__(dirpath=folder)
        self.file = Path(folder) / f"{uuid.uuid4().hex}.json"
        self.record: dict[str, Any] = {"pid": os.getpid(), "began": time.time(), "train": [], "videos": [], "name": ""}
        self._running: dict[str, float] = {}

    def setup(self, stage: str, local_rank: int | None = None, log_dir: str | None = None) -> None:
        super().setup(stage, local_rank, log_dir)
        self.record["name"] = "/".join(Path(log_dir).parts[-2:]) if log_dir else ""

    def start(self, action_name: str) -> None:
        self._running[action_name] = time.perf_counter()

    def stop(self, action_name: str) -> None:
        seconds = time.perf_counter() - self._running.pop(action_name, time.perf_counter())
        if action_name == "run_training_batch":
            self.record["train"].append(seconds)
        elif action_name.endswith(".validation_step"):
            self.record["videos"].append(seconds)

    def describe(self) -> None:
        self.record["ended"] = time.time()
        self.file.parent.mkdir(parents=True, exist_ok=True)
        self.file.write_text(json.dumps(self.record))


@dataclass
class Process:
    """What a command took.

    Attributes:
        seconds: by the clock. processor: seconds of processor time of it and its children. peak: most memory of all its processes
            together at one time (proportional set size), in bytes. runs: what :class:`Stages` recorded.
    """

    seconds: float
    processor: float
    peak: int
    runs: list[dict[str, Any]] = field(default_factory=list)


@dataclass(frozen=True)
class Size:
    """How much a run does: training steps, sampling steps, references, batches of videos with their seeds; None is the default."""

    steps: int | None = STEPS
    sampling: int | None = SAMPLING
    references: tuple[str, ...] = ("builtin:orbit",)
    extra: tuple[tuple[str, Any], ...] = ()

    def config(self, stages: Path) -> dict[str, Any]:
        """A configuration beneath an experiment's."""
        profiler = {"class_path": "benchmarks.studies.Stages", "init_args": {"folder": str(stages)}}
        config: dict[str, Any] = {"trainer": {"profiler": profiler}}
        if self.steps is not None:
            config["trainer"] |= {"max_steps": self.steps, "check_val_every_n_epoch": 1}
            config["data"] = {"steps_per_epoch": self.steps, "noises": ["random", "blend"]}
        if self.sampling is not None:
            config["model"] = {"sampling": {"steps": self.sampling}}
        for path, value in self.extra:
            place = config
            *parents, last = path.split(".")
            for name in parents:
                place = place.setdefault(name, {})
            place[last] = value
        return config


def run(command: Sequence[str], folder: Path, stages: Path) -> Process:
    """Runs a command to its end in ``folder``. Raises ``RuntimeError`` with the end of what it printed if it fails."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / "output.txt"
    before, clock = os.times(), time.perf_counter()
    with log.open("w") as output:
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=output, stderr=subprocess.STDOUT)
        try:
            with _Memory(process.pid) as memory:
                code = process.wait()
        finally:
            process.kill()  # if this one is interrupted, that one must not go on
    seconds, after = time.perf_counter() - clock, os.times()
    if code:
        raise RuntimeError(f"{' '.join(map(str, command))} failed: {log.read_text()[-800:]}")
    used = after.children_user + after.children_system - before.children_user - before.children_system
    return Process(seconds, used, memory.peak, [json.loads(path.read_text()) for path in sorted(stages.glob("*.json"))])


class _Memory:
    """Follows the memory of a process and its children, twice a second."""

    def __init__(self, pid: int) -> None:
        self.root, self.peak, self._over = psutil.Process(pid), 0, Event()
        self._thread = Thread(target=self._follow, daemon=True)

    def __enter__(self) -> _Memory:
        self._thread.start()
        return self

    def __exit__(self, *_: Any) -> None:
        self._over.set()
        self._thread.join()

    def _follow(self) -> None:
        while not self._over.wait(0.5):
            total = 0
            try:
                for process in [self.root, *self.root.children(recursive=True)]:
                    total += getattr(process.memory_full_info(), "pss", 0)
            except psutil.Error:
                continue  # one of them has just ended
            self.peak = max(self.peak, total)


def alone(experiment: Path, size: Size, folder: Path) -> Process:
    """``lightning fit --config EXPERIMENT`` in a fresh process with an empty cache."""
    stages = folder / "stages"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    beneath = folder / "size.yaml"
    beneath.write_text(yaml.safe_dump(size.config(stages)))
    command = [BIN / "lightning", "fit", "--config", beneath, "--config", experiment, f"--data.references={json.dumps(size.references)}"]
    return run([*map(str, command), "--trainer.enable_progress_bar=false"], folder, stages)


def study(cards: Sequence[Path], size: Size, folder: Path, workers: int | None = None) -> Process:
    """``motion-ablation run CARD ...`` in a fresh process with an empty cache."""
    stages = folder / "stages"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    beneath = folder / "size.yaml"
    beneath.write_text(yaml.safe_dump(size.config(stages)))
    command = [BIN / "motion-ablation", "run", *cards, "--config", beneath, "--output", folder / "study", "--references", *size.references]
    return run([*map(str, command), *(["--workers", str(workers)] if workers else [])], folder, stages)


def experiments_of(cards: Sequence[Path]) -> list[Path]:
    """The experiments of the cards, the floor first, as a study orders them."""
    from motion_ablation.study.plan.cards import read_card

    found = [card.folder / f"{name}.yaml" for card in map(read_card, cards) for name in card.experiments]
    return list(dict.fromkeys(found))


def longer(run: dict[str, Any]) -> float:
    """Seconds that a run of full size takes beyond a reduced one; see the model at the top."""
    steps = run["train"][2:] or run["train"]
    training = (FULL_STEPS - STEPS) * sum(steps) / len(steps) if steps else 0.0
    videos = run["videos"]
    return training + len(videos) * min(videos) * (FULL_SAMPLING / SAMPLING - 1)


def schedule(durations: Sequence[float], workers: int) -> float:
    """When the last of ``durations`` is over if each goes, in order, to the first worker that is free."""
    free = [0.0] * workers
    for seconds in durations:
        heapq.heappush(free, heapq.heappop(free) + seconds)
    return max(free)


def extrapolate(found: Process, workers: int, references: int) -> tuple[float, float]:
    """Seconds of the whole study, by the model at the top; and of the reduced one by the same model, to compare with what it took."""
    runs = sorted(found.runs, key=lambda run: run["began"])
    lanes: dict[int, list[dict[str, Any]]] = defaultdict(list)
    for one in runs:
        lanes[one["pid"]].append(one)
    gaps = [b["began"] - a["ended"] for lane in lanes.values() for a, b in pairwise(lane)]
    gap = max(0.0, median(gaps)) if gaps else 0.0
    edges = found.seconds - (max(run["ended"] for run in runs) - runs[0]["began"])
    short = [run["ended"] - run["began"] + gap for run in runs]
    full = [seconds + longer(run) for seconds, run in zip(short, runs, strict=True) for _ in range(references)]
    full.sort(reverse=True)  # those that train come first
    return edges + schedule(full, workers) - gap, edges + schedule(short, workers) - gap


def compare_study(
    folder: Path, full: bool, say: Callable[[str], None] = print, size: Size | None = None, cards: Sequence[Path] | None = None
) -> list[Row]:
    """The rows of (c): the default ``make ablate-all`` over the sum of its experiments run alone."""
    from motion_ablation.study.run.runner import default_workers

    cards = cards or [ROOT / "experiments" / "studies" / f"{card}.yaml" for card in CARDS]
    size = size or (Size(None, None, ("builtin:orbit", "builtin:slide", "builtin:bikes")) if full else Size())
    wanted = [(experiment, reference) for experiment in experiments_of(cards) for reference in size.references]
    single: dict[str, Process] = {}

    def go_alone(chosen: list[tuple[Path, str]]) -> None:
        for experiment, reference in chosen:
            name = f"{experiment.stem}/{reference.removeprefix('builtin:')}"
            single[name] = alone(experiment, Size(size.steps, size.sampling, (reference,), size.extra), folder / "alone" / name)
            say(f"  {name} alone: {single[name].seconds:.0f} s")

    # The study in the middle, so that a drift of the machine meets both alike.
    half = len(wanted) // 2
    go_alone(wanted[:half])
    together = study(cards, size, folder / "together")
    say(f"  the study: {together.seconds:.0f} s")
    go_alone(wanted[half:])

    parts, label = list(single.values()), "whole" if full else "reduced"
    raw = {
        "study": {"seconds": together.seconds, "processor": together.processor, "peak": together.peak, "runs": len(together.runs)},
        "alone": {name: {"seconds": p.seconds, "processor": p.processor, "peak": p.peak} for name, p in single.items()},
    }
    sums = sum(p.seconds for p in parts)
    used = ratio([together.processor], [sum(p.processor for p in parts)]).median
    note = f"{together.seconds:.0f} s over {sums:.0f} s in {len(parts)} processes; in processor time {used:.3f}"
    rows = [Row("c", f"study over its experiments alone, {label}", ratio([together.seconds], [sums]), WITHIN if full else None, note, raw)]
    if not full:
        workers, references = default_workers(), 3
        whole, modelled = extrapolate(together, workers, references)
        apart = references * sum(p.seconds + sum(longer(run) for run in p.runs) for p in parts)
        note = f"{whole / 60:.1f} min over {apart / 60:.1f} min; the model gives {modelled:.0f} s for the reduced study"
        rows.append(Row("c", "study over its experiments alone, extrapolated to the default", ratio([whole], [apart]), WITHIN, note))
    most = max(p.peak for p in parts)
    if together.peak and most:
        note = f"{together.peak / 2**20:.0f} MiB in all processes over {most / 2**20:.0f} MiB"
        rows.append(Row("e", "study over its largest experiment alone, resident memory", ratio([together.peak], [most]), None, note))
    return rows


SMALL = Size(12, 2, extra=(("data.seeds", [0]), ("data.noises", ["random"])))
GROWTH = {
    "that train": (("integration_concat",), ("integration_concat", "integration_multiply", "mqk_spatial", "mqk_partial")),
    "that differ in generation only": (("debias_none",), ("debias_none", "debias_lag2", "debias_lag4", "debias_mean_centred")),
}


def growth_rows(folder: Path, say: Callable[[str], None] = print, size: Size | None = None, experiments: Path | None = None) -> list[Row]:
    """The rows of (d) on experiments: a small study with four replacements over one with a single one, one run at a time."""
    copied = folder / "experiments"
    shutil.rmtree(copied, ignore_errors=True)
    shutil.copytree(experiments or ROOT / "experiments", copied)
    size, rows = size or SMALL, []
    for kind, sizes in GROWTH.items():
        took: list[Process] = []
        for replacements in sizes:
            card = copied / "studies" / f"growth_{len(replacements)}.yaml"
            content = {
                "name": "growth", "part": "anything", "action": "REPLACE", "why": "its cost", "baseline": "baseline",
                "replacements": list(replacements), "metrics": ["text_similarity"],
            }  # fmt: skip
            card.write_text(yaml.safe_dump(content))
            took.append(study([card], size, folder / f"growth-{len(took)}", workers=1))
            say(f"  a study of {len(replacements)} replacements {kind}: {took[-1].seconds:.0f} s")
        few, many = took
        counts = [len(names) + 2 for names in sizes]  # and the baseline, and the floor
        note = f"{many.seconds:.0f} s over {few.seconds:.0f} s; in processor time {many.processor / few.processor:.3f}"
        name = f"study, {counts[1]} over {counts[0]} experiments {kind}"
        raw = {"few": few.seconds, "many": many.seconds}
        rows.append(Row("d", name, ratio([many.seconds], [few.seconds]), None, note, raw))
    return rows
