"""What every metric gives to videos that are plainly broken, beside a good one: its blind spots."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from motion_ablation.data.world.builtin import builtin
from motion_ablation.data.world.shapes import parked
from motion_ablation.evaluation.calibration.held_out import HELD_OUT
from motion_ablation.evaluation.calibration.ladders import Rung, ladder
from motion_ablation.evaluation.calibration.measure import Row
from motion_ablation.evaluation.evaluator import scores_of
from motion_ablation.metrics import METRICS
from motion_ablation.records import Clip, Sample
from motion_ablation.weights import MissingWeights

SEEDS = 2
"""Videos per reference and kind; the second has another texture, or other noise."""


def _black(good: Tensor, rng: torch.Generator) -> Tensor:
    return torch.zeros_like(good)


def _grey(good: Tensor, rng: torch.Generator) -> Tensor:
    return torch.full_like(good, 0.5)


def _frozen(good: Tensor, rng: torch.Generator) -> Tensor:
    return good[:1].expand_as(good)


def _noise(good: Tensor, rng: torch.Generator) -> Tensor:
    return torch.rand(good.shape, generator=rng)


def _shuffled(good: Tensor, rng: torch.Generator) -> Tensor:
    return good[torch.randperm(len(good), generator=rng)]


def _reversed(good: Tensor, rng: torch.Generator) -> Tensor:
    return good.flip(0)


SPOILED: dict[str, Callable[[Tensor, torch.Generator], Tensor]] = {
    "black": _black, "grey": _grey, "frozen": _frozen, "noise": _noise, "shuffled": _shuffled, "reversed": _reversed,
}  # fmt: skip
KINDS = ("good", *SPOILED, "opposite", "parked", "swapped", "copy")
"""good: the right motion in the prompt's look. opposite: that motion negated. parked: the prompt's object standing in the middle.
swapped: the good video with the object's colour on the background and the other way round. copy: the reference itself."""


def broken_videos(kind: str, name: str, frames: int = 16) -> list[Sample]:
    """The videos of one kind for a reference, with the prompt of a look that shares nothing with it."""
    scene, ease = HELD_OUT[name] if name in HELD_OUT else (builtin(name).scene, 1.0)
    assert scene is not None
    own, *others = (rung for rung in ladder(name, scene, frames, 2, ease) if rung.family in ("right", "opposite"))
    truth = {key: torch.from_numpy(value) for key, value in vars(own.truth).items()}
    reference = Clip(own.frames(), 8.0, scene.caption(), name, truth=truth)
    good, opposite = (next(rung for rung in others if rung.look == 1 and rung.family == family) for family in ("right", "opposite"))
    prompt = good.scene.caption(motion=False)
    return [Sample(_video(kind, seed, good, opposite, reference), reference, prompt, seed, "random") for seed in range(SEEDS)]


def _video(kind: str, seed: int, good: Rung, opposite: Rung, reference: Clip) -> Tensor:
    waves = tuple((x, y, phase + seed) for x, y, phase in good.scene.waves)
    rung = replace(opposite if kind == "opposite" else good, scene=replace(good.scene, waves=waves))
    if kind == "parked":
        scene = rung.scene
        return torch.from_numpy(parked(scene.shape, scene.color, scene.background, len(reference.frames)))
    if kind == "swapped":
        return replace(rung, scene=replace(rung.scene, color=rung.scene.background, background=rung.scene.color)).frames()
    if kind == "copy":
        return reference.frames
    spoil = SPOILED.get(kind)
    return spoil(rung.frames(), torch.Generator().manual_seed(seed)) if spoil else rung.frames()


def score_broken(references: Sequence[str], frames: int = 16) -> list[Row]:
    """A row per metric: its mean score of every kind of video over references (built-in or held-out ones), or the set's score; NaN where no
    video has one. Metrics whose weights are not here are left out."""
    samples = {kind: [sample for name in references for sample in broken_videos(kind, name, frames)] for kind in KINDS}
    rows = []
    for name in METRICS:
        metric: Any = METRICS.build(name)
        try:
            scores = {kind: _mean(scores_of(metric, own)) for kind, own in samples.items()}
        except MissingWeights:
            continue
        rows.append({"metric": name, "references": len(references), **scores})
    return rows


def beats_good(row: Row, kind: str) -> bool:
    """Whether a broken video scores at least as well as the good one."""
    metric = METRICS[row["metric"]]
    if metric.higher_is_better is None:
        return not metric.per_sample and bool(row[kind] <= row["good"])  # a distance between sets: as near as the good one, or nearer
    return bool(row[kind] >= row["good"] if metric.higher_is_better else row[kind] <= row["good"])


def _mean(scores: list[float]) -> float:
    return float(torch.tensor(scores, dtype=torch.float64).nanmean())
