"""Peak memory of one training step or one sampling step of one variant, in a process of its own.

Two numbers. *Tensors*: the most bytes that torch held at once beyond what it held before the step, exact, from the profiler's record
of every allocation on a CPU and from the CUDA allocator on a GPU. *Process*: how far the process' resident memory rose above what it
was after loading, which also sees scratch memory of the libraries and the allocator's slack.

``python -m benchmarks.peak train ours`` prints them as JSON; ``measure`` starts such a process.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import warnings
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import psutil
import torch

from benchmarks.variants import Bare, Explicit, Ours, Scene, Variant, make_world

VARIANTS: dict[str, type[Variant]] = {"ours": Ours, "bare": Bare, "explicit": Explicit}
ROOT = Path(__file__).parents[1]


def tensor_peak(run: Callable[[], Any], device: str = "cpu") -> int:
    """Most bytes that torch held at once during ``run``, beyond what it held before."""
    if device.startswith("cuda"):
        torch.cuda.synchronize()
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        run()
        torch.cuda.synchronize()
        return int(torch.cuda.max_memory_allocated() - before)
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profile:
        run()
    held = most = 0
    events = [event for event in profile.profiler.kineto_results.events() if event.name() == "[memory]"]
    for event in sorted(events, key=lambda event: event.start_ns()):
        held += event.nbytes()
        most = max(most, held)
    return most


def process_peak(run: Callable[[], Any]) -> int | None:
    """How far the process' resident memory rose above its present size during ``run``, in bytes; None where the system does not tell."""
    before = psutil.Process().memory_info().rss
    try:
        Path("/proc/self/clear_refs").write_text("5")  # the high-water mark starts from here
    except OSError:
        return None
    run()
    status = Path("/proc/self/status").read_text().splitlines()
    highest = next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM"))
    return max(0, highest - before)


def peaks(kind: str, variant: str, scene: Scene) -> dict[str, int | None]:
    """Both peaks of the first step of a fresh variant (process), and of a later one (tensors)."""
    program = VARIANTS[variant](make_world(scene))
    run = program.train if kind == "train" else lambda: program.generate(4, 1)
    process = process_peak(run)
    program.forget()
    return {"tensors": tensor_peak(run, scene.device), "process": process}


def measure(kind: str, variant: str, scene: Scene, threads: int) -> dict[str, int | None]:
    """:func:`peaks` in a fresh process, without the allocator's settings that trade memory for speed."""
    environment = {name: value for name, value in os.environ.items() if name != "GLIBC_TUNABLES"}
    command = [sys.executable, "-m", "benchmarks.peak", kind, variant, "--scene", json.dumps(asdict(scene)), "--threads", str(threads)]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"measuring the memory of '{kind} {variant}' failed: {done.stderr.strip()[-500:]}")
    found: dict[str, int | None] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def main() -> None:
    """Prints both peaks of one variant as one line of JSON."""
    parser = argparse.ArgumentParser(description="Peak memory of one step of one variant.")
    parser.add_argument("kind", choices=("train", "generate"))
    parser.add_argument("variant", choices=tuple(VARIANTS))
    parser.add_argument("--scene", type=json.loads, default={"cache": "cache"}, help="fields of benchmarks.variants.Scene, as JSON")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(options.threads)
    scene = Scene(**{**options.scene, "size": tuple(options.scene.get("size", (64, 64)))})
    print(json.dumps(peaks(options.kind, options.variant, scene)))


if __name__ == "__main__":
    main()
