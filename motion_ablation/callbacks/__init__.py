"""Callbacks: metrics at validation, videos, and the run's files. Each reads the samples that a step generated once."""

from motion_ablation.callbacks.base import SampleCallback, gathered, run_folder
from motion_ablation.callbacks.evaluation import EvaluationCallback
from motion_ablation.callbacks.result import EmbeddingCallback, ResultCallback
from motion_ablation.callbacks.training import Training
from motion_ablation.callbacks.videos import (
    PredictionWriter,
    VideoCallback,
    cell_stem,
    labelled,
    sample_stem,
    save_frames,
    side_by_side,
)

__all__ = [
    "EmbeddingCallback",
    "EvaluationCallback",
    "PredictionWriter",
    "ResultCallback",
    "SampleCallback",
    "Training",
    "VideoCallback",
    "cell_stem",
    "gathered",
    "labelled",
    "run_folder",
    "sample_stem",
    "save_frames",
    "side_by_side",
]
