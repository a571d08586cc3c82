"""Scoring videos on disk, from any method, against a reference: the metrics without any training."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from motion_ablation.data.reference import caption_beside
from motion_ablation.data.video import VideoError, read_clip, shape_of
from motion_ablation.evaluation.evaluator import Evaluator
from motion_ablation.metrics import METRICS, EvaluationConfig
from motion_ablation.records import Clip, Sample
from motion_ablation.weights import MissingWeights

ITSELF = "the reference itself"
SHORT_SIDE = 512
FAILED = "failed"  # in a row: why a video could not be scored, or not by every metric


@dataclass
class Scores:
    """What was found.

    Attributes:
        reference: its path. rows: per video ``video``, ``prompt`` and every metric of single videos; the first is the reference itself, the
            ceiling; ``failed`` says why one could not be scored. sets: metrics of all videos together. protocols: how each number was made.
        skipped: why a metric is missing.
    """

    reference: str
    rows: list[dict[str, Any]]
    sets: dict[str, float]
    protocols: dict[str, dict[str, Any]]
    skipped: dict[str, str] = field(default_factory=dict)

    @property
    def complete(self) -> bool:
        """Whether every video was scored by every metric."""
        return not any(FAILED in row for row in self.rows)

    def to_table(self) -> str:
        """Markdown, as plain text too: a row per video, a column per metric."""
        names = [name for name in self.protocols if name not in self.sets]
        header = ["video", *(f"{name} {_arrow(name)}" for name in names)]
        lines = [header, *([row["video"], *(_number(row.get(name)) for name in names)] for row in self.rows)]
        widths = [max(len(line[column]) for line in lines) for column in range(len(header))]
        lines.insert(1, ["-" * width for width in widths])
        padded = [[cell.ljust(width) for cell, width in zip(line, widths, strict=True)] for line in lines]
        parts = ["\n".join("| " + " | ".join(line) + " |" for line in padded)]
        parts += [f"{name} {_arrow(name)} of all videos together: {_number(value)}" for name, value in self.sets.items()]
        parts += [f"warning, {name}: {protocol['warning']}" for name, protocol in self.protocols.items() if "warning" in protocol]
        parts += [f"{name} left out: {reason}" for name, reason in self.skipped.items()]
        parts += [f"{row['video']} failed: {row[FAILED]}" for row in self.rows if FAILED in row]
        return "\n".join(parts)


def read_whole(path: Path, frames: int, fps: float | None) -> Clip:
    """A video from its beginning, at most ``frames`` frames, in its own size (short side at most 512), with the caption beside it.

    Raises:
        VideoError: what cannot be read, and why.
    """
    height, width = shape_of(path)
    scale = min(1.0, SHORT_SIDE / min(height, width))
    size = max(1, round(height * scale)), max(1, round(width * scale))
    pictures, rate = read_clip(path, frames=frames, fps=fps, size=size, crop="none", shorter=True)
    return Clip(pictures, rate, caption_beside(path), path.name)


def score_files(
    reference: str | Path,
    videos: Sequence[str | Path],
    *,
    metrics: Sequence[str] | None = None,
    prompt: str = "",
    network: str = "shapes",
    tracker: str = "opencv",
    frames: int = 128,
    fps: float | None = None,
    track: Callable[[Iterable[Any]], Iterable[Any]] = iter,
) -> Scores:
    """Scores every video against the reference, and the reference against itself.

    Args:
        reference, videos: whatever the data module reads: mp4, webm, mov, gif, folders of images.
        metrics: registered names; None: all but those that judge the built-in world only. prompt: the text of every video; a video's own
            ``.txt`` beside it goes before; without any, text similarity is left out for that video.
        network: source of CLIP (``shapes``, a folder, a hub id). tracker: ``opencv``, ``raft``, ``cotracker3``, each also ``NAME:PATH``.
        frames: most frames read. fps: rate to read at; None: each video's own. track: wraps the videos, to show progress.

    Raises:
        ValueError: no videos, an unknown metric or tracker, a video that cannot be read.
        MissingWeights: the network's or tracker's weights, if asked for by name.
    """
    paths = _existing([reference, *videos])
    evaluator, skipped = _evaluator(metrics or [name for name in METRICS if not METRICS[name].requires_truth], network, tracker)
    chosen = evaluator.metrics
    source = read_whole(paths[0], frames, fps)
    rows = []
    for number, path in enumerate(track(paths)):
        try:
            clip = source if number == 0 else read_whole(path, frames, fps)
        except (VideoError, OSError) as error:
            rows.append({"video": str(path), "prompt": "", FAILED: " ".join(str(error).split())})
            continue
        sample = Sample(clip.frames, source, clip.caption or prompt, number, "")
        row: dict[str, Any] = {"video": ITSELF if number == 0 else str(path), "prompt": sample.prompt}
        for name, metric in list(chosen.items()):
            if ("prompt" in metric.reads and not sample.prompt) or (number == 0 and not metric.per_sample):
                continue
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")  # lost tracks show in the protocol
                    scores = evaluator.score(name, [sample])
                row.update({name: scores[0]} if scores else {})
            except MissingWeights as error:
                if metrics:
                    raise
                skipped[name] = str(error)
                del chosen[name]
            except ValueError as error:
                row.setdefault(FAILED, f"{name}: {error}")
        rows.append(row)
    sets = {name: evaluator.value(name) for name, metric in chosen.items() if not metric.per_sample}
    if any("prompt" in metric.reads for metric in chosen.values()) and not any(row["prompt"] for row in rows):
        chosen = {name: metric for name, metric in chosen.items() if "prompt" not in metric.reads}
        skipped["text_similarity"] = "no prompt: give --prompt, or write VIDEO.txt beside VIDEO.mp4"
    return Scores(str(reference), rows, sets, {name: metric.protocol for name, metric in chosen.items()}, skipped)


def _existing(files: Sequence[str | Path]) -> list[Path]:
    """The paths of a reference and at least one video. Raises ``ValueError`` where there is none."""
    paths = [Path(path).expanduser() for path in files]
    missing = [str(path) for path in paths if not path.exists()]
    if missing:
        raise VideoError(f"{', '.join(missing)}: no such file or folder")
    if len(paths) < 2:
        raise ValueError("no videos to score")
    return paths


def _evaluator(names: Iterable[str], network: str, tracker: str) -> tuple[Evaluator, dict[str, str]]:
    """The metrics, on one image-text network and one tracker, and why some cannot be had."""
    options: dict[str, dict[str, Any]] = {}
    skipped: dict[str, str] = {}
    for name, own in EvaluationConfig([*names], network, tracker).options().items():
        try:
            METRICS.build(name, **own)
            options[name] = own
        except MissingWeights as error:
            skipped[name] = str(error)
    return Evaluator(options), skipped


def _arrow(name: str) -> str:
    better = METRICS[name].higher_is_better
    return "" if better is None else "↑" if better else "↓"


def _number(value: float | None) -> str:
    return "-" if value is None or math.isnan(value) else f"{value:.4f}" if abs(value) < 100 else f"{value:.1f}"
