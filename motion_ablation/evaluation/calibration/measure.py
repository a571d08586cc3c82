"""How every metric ranks videos whose truth is known; plain data in, plain data out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import torch
from scipy import stats
from scipy.stats import spearmanr
from torch import Tensor

from motion_ablation.data.world.shapes import render, sample_scene
from motion_ablation.evaluation.calibration.cases import CASES
from motion_ablation.evaluation.calibration.ladders import Rung, appearance_ladder, caption_ladder, motion_ladder
from motion_ablation.evaluation.evaluator import scores_of
from motion_ablation.metrics import METRICS, PerSampleMetric, frechet_from_features, load_features, motion_fidelity
from motion_ablation.metrics.calibrated_motion import calibrated_motion_fidelity
from motion_ablation.metrics.kid import kernel_distance
from motion_ablation.metrics.motion_fidelity import PROTOCOLS, STILL, dmt_motion_fidelity
from motion_ablation.records import Clip, Sample
from motion_ablation.weights import MissingWeights

Row = dict[str, Any]
TARGETS = {"motion_fidelity": 0.95, "text_similarity": 0.95}


def motion_metrics(trackers: Sequence[str]) -> dict[str, PerSampleMetric]:
    """Every metric of a single video that does not read its text, by a label; those whose weights are not here are left out.

    Motion fidelity comes in every protocol with every tracker; the default's label is its bare name.
    """
    found: dict[str, PerSampleMetric] = {}
    for tracker in trackers:
        for protocol in PROTOCOLS:
            plain = tracker == trackers[0]
            label = "motion_fidelity" + ("" if protocol == "calibrated" else f" {protocol}") + ("" if plain else f" ({tracker})")
            found[label] = METRICS.build("motion_fidelity", protocol=protocol, tracker=tracker)
    for name in METRICS:
        metric = METRICS.build(name)
        if name != "motion_fidelity" and metric.per_sample and "prompt" not in metric.reads:
            found[name] = metric
    return {label: metric for label, metric in found.items() if _usable(metric)}


def _usable(metric: PerSampleMetric) -> bool:
    try:
        score_videos(metric, torch.rand(1, 4, 3, 64, 64), torch.rand(1, 4, 3, 64, 64))
    except MissingWeights:
        return False
    return True


def score_videos(metric: PerSampleMetric, frames: Tensor, reference: Tensor) -> list[float]:
    """Scores of ``(b, f, 3, h, w)`` against one reference ``(1, f', 3, h', w')``."""
    clip = Clip(reference[0], 8.0, "", "")
    return scores_of(metric, [Sample(video, clip, "", index, "") for index, video in enumerate(frames)])


def rank_motion(
    references: Sequence[str],
    looks: int,
    trackers: Sequence[str],
    frames: int = 16,
    track: Callable[[Iterable[Any]], Iterable[Any]] = iter,
) -> tuple[list[Row], list[Row]]:
    """Scores of every rung of the motion ladders by every metric, and how the metrics rank them.

    Args:
        looks: appearances per reference; the first is the reference's own. track: wraps the references, to show progress.

    Returns:
        Rows ``reference, family, degree, look, error, <metric>...``; and per metric ``metric``, ``spearman`` with the true error (mean over
        references and looks) and its t interval over references ``low`` and ``high``, ``worst`` (the one nearest to, or beyond, no
        relation) and where, and ``separation`` of the right motion from none and from the opposite, in standard errors of the difference
        over references and looks.
    """
    metrics = motion_metrics(trackers)
    rows: list[Row] = []
    for reference in track(references):
        rungs = list(motion_ladder(reference, frames, looks))
        source, videos = rungs[0].frames()[None], torch.stack([rung.frames() for rung in rungs])
        scores = {label: score_videos(metric, videos, source) for label, metric in metrics.items()}
        rows += [{**_truth(rung), **{label: scores[label][index] for label in metrics}} for index, rung in enumerate(rungs)]
    return rows, [{"metric": label, **_ranking(rows, label)} for label in metrics]


def _truth(rung: Rung) -> Row:
    return {name: getattr(rung, name) for name in ("reference", "family", "degree", "look", "error")}


def _ranking(rows: list[Row], metric: str) -> Row:
    ladders = {(row["reference"], row["look"]) for row in rows}
    found: dict[tuple[str, int], float] = {}
    for ladder in sorted(ladders):
        rungs = [row for row in rows if (row["reference"], row["look"]) == ladder]
        found[ladder] = spearman([row["error"] for row in rungs], [row[metric] for row in rungs])
    mean = float(np.mean(list(found.values())))
    worst = min(found, key=lambda ladder: np.sign(mean) * found[ladder])
    by_reference = [np.mean([found[ladder] for ladder in found if ladder[0] == name]) for name in sorted({name for name, _ in ladders})]
    _, low, high = interval([float(value) for value in by_reference])
    result: Row = {"spearman": mean, "low": low, "high": high, "worst": found[worst], "worst_at": f"{worst[0]}, look {worst[1]}"}
    for other in ("none", "opposite"):
        differences = [_mean(rows, metric, ladder, "right") - _mean(rows, metric, ladder, other) for ladder in sorted(ladders)]
        result[f"right_minus_{other}"] = float(np.mean(differences))
        result[f"separation_{other}"] = float(np.mean(differences) / (np.std(differences, ddof=1) / len(differences) ** 0.5 + 1e-12))
    return result


def _mean(rows: list[Row], metric: str, ladder: tuple[str, int], family: str) -> float:
    return float(np.nanmean([row[metric] for row in rows if (row["reference"], row["look"]) == ladder and row["family"] == family]))


def spearman(truth: Sequence[float], scores: Sequence[float]) -> float:
    """Rank correlation over the videos that have a score; 0 where all scores are the same, NaN for fewer than three."""
    known = ~np.isnan(scores)
    if known.sum() < 3:
        return float("nan")
    own = np.asarray(scores)[known]
    return 0.0 if np.ptp(own) == 0 else float(spearmanr(np.asarray(truth)[known], own).statistic)


def interval(values: Sequence[float], level: float = 0.95) -> tuple[float, float, float]:
    """Mean and its t interval over references; without width NaN for fewer than two."""
    known = np.asarray([value for value in values if not np.isnan(value)])
    mean = float(known.mean()) if len(known) else float("nan")
    if len(known) < 2:
        return mean, float("nan"), float("nan")
    half = float(stats.t.ppf((1 + level) / 2, len(known) - 1) * known.std(ddof=1) / len(known) ** 0.5)
    return mean, mean - half, mean + half


def rank_cases() -> list[Row]:
    """The documented failures of the usual formula, by every protocol on synthetic tracks: the same motion again, and another."""
    rows = []
    for case in CASES:
        row: Row = {"case": case.name}
        for which, tracks in (("same", case.same), ("other", case.other)):
            row[f"calibrated {which}"] = calibrated_motion_fidelity(tracks, case.reference)[0].score
            row[f"two_way {which}"] = motion_fidelity(tracks, case.reference).item()
            row[f"two_way_static {which}"] = motion_fidelity(tracks, case.reference, STILL).item()
            row[f"dmt {which}"] = dmt_motion_fidelity(tracks, case.reference).item()
        rows.append(row)
    return rows


def rank_text() -> Row:
    """Text similarity against captions with 0 to 3 wrong attributes: mean score per number, and the mean rank correlation per video."""
    metric = METRICS.build("text_similarity")
    rungs = list(caption_ladder())
    scores = metric.score(torch.stack([frames for frames, _, _ in rungs]), [caption for _, caption, _ in rungs]).tolist()
    return _levels([wrong for _, _, wrong in rungs], scores)


def rank_appearance() -> Row:
    """Appearance leakage against the number of attributes, 0 to 3, that a video shares with the reference."""
    metric = METRICS.build("appearance_leakage")
    rungs = list(appearance_ladder())
    scores = metric.score(torch.stack([frames for frames, _, _ in rungs]), torch.stack([other for _, other, _ in rungs])).tolist()
    return _levels([shared for _, _, shared in rungs], scores)


def _levels(levels: list[int], scores: list[float]) -> Row:
    groups = [slice(first, first + 4) for first in range(0, len(levels), 4)]
    each = [spearman(levels[group], scores[group]) for group in groups]
    means = {str(level): float(np.mean([s for s, at in zip(scores, levels, strict=True) if at == level])) for level in range(4)}
    return {"spearman": float(np.mean(each)), "pooled": spearman(levels, scores), "videos": len(groups), "means": means}


def sensitivity(references: Sequence[str], trackers: Sequence[str], frames: int = 16) -> list[Row]:
    """Motion fidelity of the right, the absent and the opposite motion in another look, as size and number of frames change.

    The reference keeps ``frames`` frames of 64 pixels; the others sample the same stretch of time from a quarter to twice as finely.
    """
    rows = []
    metric = METRICS.build("motion_fidelity", tracker=trackers[0])
    settings = [(frames, size) for size in (32, 64, 128, 256)] + [(round(frames * share), 64) for share in (0.25, 0.5, 0.75, 1.5, 2)]
    for count, size in settings:
        row: Row = {"frames": count, "size": size}
        for family in ("right", "none", "opposite"):
            scores = []
            for reference in references:
                source = next(iter(motion_ladder(reference, frames, looks=1))).frames()[None]
                other = [rung for rung in motion_ladder(reference, count, looks=2) if rung.look == 1 and rung.family == family]
                scores += score_videos(metric, other[0].frames(size)[None], source)
            row[family] = float(np.mean(scores))
        rows.append(row)
    return rows


def set_bias(sizes: Sequence[int] = (16, 32, 64, 128, 256, 512), repeats: int = 5, features: str = "shapes") -> list[Row]:
    """FID and KID between two samples of n frames of ONE distribution, whose true distance is 0: mean and standard deviation."""
    encoder = load_features(features)
    rng = np.random.default_rng(13)
    wanted = 2 * max(sizes)
    frames = np.concatenate([render(sample_scene(rng), times=rng.random(1))[0] for _ in range(wanted)])
    vectors = torch.cat([encoder.images(part) for part in torch.split(torch.from_numpy(frames), 256)])
    rows = []
    for size in sizes:
        found: dict[str, list[float]] = {"fid": [], "kid": []}
        for repeat in range(repeats):
            order = torch.randperm(wanted, generator=torch.Generator().manual_seed(repeat))
            a, b = vectors[order[:size]], vectors[order[size : 2 * size]]
            found["fid"].append(frechet_from_features(a, b))
            found["kid"].append(kernel_distance(a, b))
        rows.append({"n": size, "dimension": vectors.shape[1], **{f"{k}": float(np.mean(v)) for k, v in found.items()},
                     **{f"{k}_sd": float(np.std(v, ddof=1)) for k, v in found.items()}})  # fmt: skip
    return rows
