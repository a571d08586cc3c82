"""How motion fidelity ranks the held-out references, as drawn and damaged, with intervals over references."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import torch

from motion_ablation.evaluation.calibration.held_out import DAMAGES, HELD_OUT, SPINS, damaged_ladder
from motion_ablation.evaluation.calibration.measure import Row, interval, score_videos, spearman
from motion_ablation.metrics import METRICS, PerSampleMetric
from motion_ablation.metrics.motion_fidelity import PROTOCOLS

AS_DRAWN = next(iter(DAMAGES))
PEERS = ("ftd", "track_chamfer", "flow_error")
"""Other measures of motion against a reference; distances, so that a good one rises with the error."""


def rank_held_out(
    references: Sequence[str] = tuple(HELD_OUT),
    damages: Sequence[str] = tuple(DAMAGES),
    frames: int = 16,
    track: Callable[[Iterable[Any]], Iterable[Any]] = iter,
) -> list[Row]:
    """Per reference, damage and protocol: ``spearman`` of score and error on screen, the mean scores of the right, the absent and the
    opposite motion, and ``withheld``, the share of the ladder's videos without a score.

    The published protocols, and the metrics of peers, are measured as drawn only.
    """
    rows = []
    for reference in track(references):
        for damage in damages:
            source, ladder = damaged_ladder(reference, damage, frames)
            videos = torch.stack([video for _, video in ladder])
            for label, metric in _judges(damage).items():
                scores = score_videos(metric, videos, source[None])
                row = {"reference": reference, "damage": damage, "protocol": label}
                rows.append(row | _ranked([(rung.family, rung.error) for rung, _ in ladder], scores))
    return rows


def _judges(damage: str) -> dict[str, PerSampleMetric]:
    names = PROTOCOLS if damage == AS_DRAWN else ["calibrated"]
    judges = {protocol: METRICS.build("motion_fidelity", protocol=protocol) for protocol in names}
    return judges | {name: METRICS.build(name) for name in PEERS if damage == AS_DRAWN}


def _ranked(truths: list[tuple[str, float]], scores: list[float]) -> Row:
    row: Row = {"spearman": spearman([error for _, error in truths], scores), "withheld": float(np.mean(np.isnan(scores)))}
    for family in ("right", "none", "opposite"):
        own = [score for (name, _), score in zip(truths, scores, strict=True) if name == family and not np.isnan(score)]
        row[family] = float(np.mean(own)) if own else float("nan")
    return row


def summary(rows: list[Row]) -> list[Row]:
    """One row per damage, protocol and group of references: means over references, and the t interval of the correlation."""
    found = []
    for damage, protocol in dict.fromkeys((row["damage"], row["protocol"]) for row in rows):
        own = [row for row in rows if (row["damage"], row["protocol"]) == (damage, protocol)]
        for group in ("without spin", "spin"):
            inside = [row for row in own if (row["reference"] in SPINS) == (group == "spin")]
            if inside:
                mean, low, high = interval([row["spearman"] for row in inside])
                means = {name: interval([row[name] for row in inside])[0] for name in ("right", "none", "opposite", "withheld")}
                found.append({"damage": damage, "protocol": protocol, "references": group, "count": len(inside), "spearman": mean,
                              "low": low, "high": high, **means})  # fmt: skip
    return found
