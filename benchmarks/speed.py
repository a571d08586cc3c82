"""What motion costs: every ratio of docs/speed.md in one run.

``python -m benchmarks.speed`` takes about twelve minutes on two idle cores, ``--only a b e`` under four. Prints a Markdown table and
writes it, with all that was measured, to ``results/speed.md`` and ``results/speed.json``.

(a) a training step over the bare backbone's; (b) over the explicit implementation's; (c) the default study over its experiments run
alone; (d) more experiments, prompts and frames over fewer; (e) peak memory. How each is measured is told at the top of the file that
does it: ``variants`` and ``steps`` (a, b), ``studies`` (c), ``scaling`` (d), ``peak`` (e).
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path
from threading import current_thread, main_thread
from typing import Any

import torch

from benchmarks.timing import Row, machine, plain, table, threads

PARTS = ("a", "b", "c", "d", "e")


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; returns 0, or 2 if the machine is too busy to measure."""
    options = _parser().parse_args(arguments)
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    if current_thread() is main_thread():
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the processes it started end with it
    warnings.simplefilter("ignore")
    with threads(options.threads):
        found = machine(options.device)
        if not found["idle"]:
            print(f"The machine is busy: load {found['load']}, processors {found['busy_percent']:.0f} % in use by others.", file=sys.stderr)
            if not options.busy:
                print("Wait until it is idle, or pass --busy for numbers that only indicate.", file=sys.stderr)
                return 2
        with tempfile.TemporaryDirectory() as folder:
            rows = measure(options, Path(folder))
    report = f"{heading(found)}\n\n{table(rows)}\n"
    print(f"\n{report}")
    output = Path(options.output)
    output.parent.mkdir(parents=True, exist_ok=True)
    output.with_suffix(".md").write_text(report, encoding="utf-8")
    output.with_suffix(".json").write_text(json.dumps({"machine": found, "rows": plain(rows)}, indent=1) + "\n", encoding="utf-8")
    return 0


def measure(options: argparse.Namespace, folder: Path) -> list[Row]:
    """The rows of the chosen parts, in the order of their letters."""
    from benchmarks.scaling import frames_rows, prompts_rows
    from benchmarks.steps import compare_memory, compare_steps
    from benchmarks.studies import compare_study, growth_rows
    from benchmarks.variants import Scene
    from motion_ablation.study.run.quiet import quiet

    scene = Scene(str(folder / "cache"), options.source, options.dtype, options.frames, tuple(options.size), options.device)
    wanted, rows = set(options.only), list[Row]()
    with quiet():
        if wanted & {"a", "b"}:
            rows += compare_steps(scene, options.rounds, _say)
        if "e" in wanted:
            rows += compare_memory(scene, options.threads, _say)
        if "d" in wanted:
            rows += frames_rows(scene, max(3, options.rounds // 4), say=_say)
            rows += prompts_rows(scene, max(3, options.rounds // 6), say=_say)
            rows += growth_rows(folder / "growth", _say)
        if "c" in wanted:
            rows += compare_study(folder / "study", options.full, _say)
    return sorted((row for row in rows if row.part in wanted), key=lambda row: row.part)


def heading(found: dict[str, Any]) -> str:
    """One line about the machine, and whether its numbers count."""
    state = "idle" if found["idle"] else "BUSY, so that these numbers only indicate"
    return (
        f"{found['processor']}, {found['threads']} threads, torch {found['torch']}, Python {found['python']}; "
        f"load {found['load']} at the start: {state}."
    )


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.speed", description="Cost of motion embeddings, as ratios.")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS, help="parts to measure (all)")
    parser.add_argument("--full", action="store_true", help="(c) for real, at its default size: hours")
    parser.add_argument("--rounds", type=int, default=24, help="measured rounds of a training step (%(default)s)")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="of torch (%(default)s)")
    parser.add_argument("--busy", action="store_true", help="measure although the machine is not idle")
    parser.add_argument("--device", default="cpu", help="cpu or cuda, for (a), (b), (d), (e) (%(default)s)")
    parser.add_argument("--source", default="shapes", help="backbone of (a), (b), (d), (e) (%(default)s)")
    parser.add_argument("--dtype", default="float32", choices=("float32", "float16", "bfloat16"), help="its precision (%(default)s)")
    parser.add_argument("--frames", type=int, default=16, help="of the clip in (a), (b), (e) (%(default)s)")
    parser.add_argument("--size", type=int, nargs=2, default=(64, 64), metavar=("HEIGHT", "WIDTH"), help="in pixels (64 64)")
    parser.add_argument("--output", default="results/speed", help="report, without its ending (%(default)s)")
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
