"""(a), (b), (e): a step against the bare backbone's and against the explicit implementation's, in time and in memory."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import TensorBoardLogger

from benchmarks.peak import VARIANTS, measure
from benchmarks.timing import Row, Times, interleave, now, ratio, timed
from benchmarks.variants import RECORDED, Scene, Variant, World, difference, make_world
from motion_ablation.data.reference import ReferenceDataModule

TOLERANCE = {"float32": 1e-4, "float16": 3e-2, "bfloat16": 1e-1}
WITHIN_BARE, WITHIN_EXPLICIT = 1.05, 1.0
SHOWN = {"bare": "bare backbone", "explicit": "explicit softmax and bmm"}


def check_equal(world: World, scene: Scene) -> dict[str, float]:
    """The relative differences between ours and the explicit implementation. Raises ``AssertionError`` if they are not the same model."""
    found = difference(world)
    limit = TOLERANCE[scene.dtype]
    if max(found.values()) > limit:
        raise AssertionError(f"ours and the explicit implementation differ by more than {limit:g} of the largest value: {found}")
    return found


def compare_steps(scene: Scene, rounds: int, say: Callable[[str], None] = print) -> list[Row]:
    """The rows of (a) and (b) in time: training steps, sampling steps, and training under Lightning's loop."""
    world = make_world(scene)
    equal = check_equal(world, scene)
    say(f"ours and the explicit implementation agree: {', '.join(f'{name} {value:.1e}' for name, value in equal.items())}")
    variants = {name: kind(world) for name, kind in VARIANTS.items()}
    say("training steps ...")
    training = interleave({name: variant.train for name, variant in variants.items()}, rounds, device=scene.device)
    say("sampling steps ...")
    sampling = interleave({name: _sampling(v) for name, v in variants.items()}, max(3, rounds // 3), warmup=1, device=scene.device)
    on_cpu = scene.device == "cpu"
    rows = [_row("a", "training step over bare backbone", training, "bare", WITHIN_BARE, on_cpu)]
    if scene.frames <= RECORDED:
        say("training steps under Lightning's loop ...")
        looped = loop_rounds(world, variants["bare"], rounds, scene)
        rows.append(_row("a", "iteration of `lightning fit` over bare backbone", looped, "bare", WITHIN_BARE, on_cpu))
    return [
        *rows,
        _row("a", "sampling step over bare backbone without motion", sampling, "bare", None, on_cpu),
        _row("b", "training step over explicit softmax and bmm", training, "explicit", WITHIN_EXPLICIT, on_cpu),
        _row("b", "sampling step over explicit softmax and bmm", sampling, "explicit", WITHIN_EXPLICIT, on_cpu),
    ]


def _sampling(variant: Variant) -> Callable[[], Any]:
    return lambda: variant.generate(4, 2)


def _row(part: str, name: str, times: dict[str, Times], under: str, target: float | None, cpu: bool) -> Row:
    ours, other = times["ours"], times[under]
    seconds = torch.tensor(ours.wall).median().item()
    note = f"{seconds:.3f} s"
    if cpu:
        note += f"; in processor time {ratio(ours.cpu, other.cpu).median:.3f}"
    raw = {name: {"wall": t.wall, "cpu": t.cpu} for name, t in (("ours", ours), (under, other))}
    return Row(part, name, ratio(ours.wall, other.wall), target, note, raw)


class _Between(Callback):
    """Times whole iterations of the training loop, and the bare step between them."""

    def __init__(self, bare: Variant, device: str, warmup: int) -> None:
        self.bare, self.device, self.warmup = bare, device, warmup
        self.times = {"ours": Times([], []), "bare": Times([], [])}
        self.mark: tuple[float, float] | None = None

    def on_train_batch_end(self, trainer: L.Trainer, *_: Any) -> None:
        wall, cpu = now(self.device)
        past_warmup = trainer.global_step > self.warmup
        if self.mark and past_warmup:
            self.times["ours"].wall.append(wall - self.mark[0])
            self.times["ours"].cpu.append(cpu - self.mark[1])
        wall, cpu = timed(self.bare.train, self.device)
        if self.mark and past_warmup:
            self.times["bare"].wall.append(wall)
            self.times["bare"].cpu.append(cpu)
        self.mark = now(self.device)


def loop_rounds(world: World, bare: Variant, rounds: int, scene: Scene, warmup: int = 2) -> dict[str, Times]:
    """Iterations of Lightning's own loop as the defaults configure it (data, optimizer, logging), in turn with bare steps.

    Validation and checkpoints are left out; they are no part of a step.
    """
    data = ReferenceDataModule(
        ["builtin:orbit"], frames=scene.frames, size=list(scene.size), cache=f"{scene.cache}/references", steps_per_epoch=10**6
    )
    between = _Between(bare, scene.device, warmup)
    with tempfile.TemporaryDirectory() as folder:
        trainer = L.Trainer(
            accelerator="gpu" if scene.device.startswith("cuda") else "cpu", devices=1, max_steps=rounds + warmup, log_every_n_steps=10,
            logger=TensorBoardLogger(folder, "fit", default_hp_metric=False), callbacks=[between], limit_val_batches=0,
            enable_progress_bar=False, enable_model_summary=False, enable_checkpointing=False,
        )  # fmt: skip
        trainer.fit(world.module, data)
    world.module._trainer = None  # further steps of this module run without a trainer again
    return between.times


def compare_memory(scene: Scene, threads: int, say: Callable[[str], None] = print) -> list[Row]:
    """The rows of (e): peaks of a training step and of a sampling step, each variant in a process of its own."""
    rows = []
    for kind, name in (("train", "training step"), ("generate", "sampling step")):
        say(f"memory of a {name} ...")
        found = {variant: measure(kind, variant, scene, threads) for variant in VARIANTS}
        for under, target in (("bare", None), ("explicit", WITHIN_EXPLICIT)):
            for what, label in (("tensors", "tensors"), ("process", "resident memory")):
                ours, other = found["ours"][what], found[under][what]
                if ours and other and (what == "tensors" or not scene.device.startswith("cuda")):
                    note = f"{ours / 2**20:.1f} MiB over {other / 2**20:.1f} MiB"
                    goal = target if what == "tensors" else None
                    rows.append(Row("e", f"{name}, {label}, over {SHOWN[under]}", ratio([ours], [other]), goal, note, found))
    return rows
