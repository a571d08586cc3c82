"""(d): what more frames and more prompts cost, as ratios to the fewest. What more experiments cost is in ``studies``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from benchmarks.peak import tensor_peak
from benchmarks.timing import Row, interleave, ratio
from benchmarks.variants import Ours, Scene, make_world

FRAMES, PROMPTS = (8, 16, 24, 32), (1, 2, 4, 8)


def frames_rows(scene: Scene, rounds: int, frames: Sequence[int] = FRAMES, say: Callable[[str], None] = print) -> list[Row]:
    """Time and tensor memory of a training step, and time of two sampling steps, against the number of frames."""
    say(f"training and sampling with {', '.join(map(str, frames))} frames ...")
    programs = {count: Ours(make_world(replace(scene, frames=count))) for count in frames}
    kinds: dict[str, dict[str, Callable[[], Any]]] = {
        "training step": {str(count): program.train for count, program in programs.items()},
        "sampling step": {str(count): partial(program.generate, 1, 1) for count, program in programs.items()},
    }
    least, *more = frames
    rows = []
    for name, runs in kinds.items():
        times = interleave(runs, rounds, warmup=1, device=scene.device)
        base = times[str(least)].wall
        for count in more:
            raw = {str(n): times[str(n)].wall for n in (least, count)}
            grown = ratio(times[str(count)].wall, base)
            rows.append(Row("d", f"{name}, {count} over {least} frames", grown, None, _per(count, least), raw))
    peaks = {}
    for count, program in programs.items():
        program.forget()
        peaks[count] = float(tensor_peak(program.train, scene.device))
    for count in more:
        note = f"{peaks[count] / 2**20:.1f} MiB over {peaks[least] / 2**20:.1f} MiB"
        grown = ratio([peaks[count]], [peaks[least]])
        rows.append(Row("d", f"training step, tensors, {count} over {least} frames", grown, None, note))
    return rows


def prompts_rows(scene: Scene, rounds: int, prompts: Sequence[int] = PROMPTS, say: Callable[[str], None] = print) -> list[Row]:
    """Time of generating one batch of videos, decoding included, against the number of prompts, and against generating one by one."""
    say(f"generating for {', '.join(map(str, prompts))} prompts ...")
    program = Ours(make_world(scene))
    program.world.module.sampling.steps = 2
    least, *more = prompts
    runs: dict[str, Callable[[], Any]] = {str(count): partial(program.videos, count) for count in prompts}

    def one_by_one() -> None:
        for _ in range(prompts[-1]):
            program.videos(1)

    runs["one by one"] = one_by_one
    times = interleave(runs, rounds, warmup=1, device=scene.device)
    rows = []
    for count in more:
        raw = {str(n): times[str(n)].wall for n in (least, count)}
        grown = ratio(times[str(count)].wall, times[str(least)].wall)
        rows.append(Row("d", f"generation, batch of {count} prompts over {least}", grown, None, _per(count, least), raw))
    most, single = times[str(prompts[-1])].wall, times["one by one"].wall
    name = f"generation, {prompts[-1]} prompts in a batch over one by one"
    rows.append(Row("d", name, ratio(most, single), None, "", {"batch": most, "one by one": single}))
    return rows


def _per(count: int, least: int) -> str:
    return f"{count / least:g} times as much"
