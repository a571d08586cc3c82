"""Metrics of generated videos; importing this package registers them all."""

from motion_ablation.metrics.base import METRICS, PerSampleMetric, VideoMetric
from motion_ablation.metrics.features import (
    ClipEncoder,
    ImageEncoder,
    ImageTextEncoder,
    InceptionFeatures,
    embed_videos,
    load_encoder,
    load_features,
)
from motion_ablation.metrics.frechet import FrechetDistance, frechet_from_features
from motion_ablation.metrics.kernel_distance import KernelDistance, kernel_distance
from motion_ablation.metrics.motion_fidelity import MotionFidelity, motion_fidelity, track_correlations
from motion_ablation.metrics.raft import RaftTracker
from motion_ablation.metrics.temporal_consistency import TemporalConsistency, temporal_consistency
from motion_ablation.metrics.text_similarity import TextSimilarity, text_similarity
from motion_ablation.metrics.trackers import CoTracker3Tracker, OpenCVTracker, load_tracker
from motion_ablation.metrics.tracks import Tracker, Tracks, track_videos

__all__ = [
    "METRICS",
    "ClipEncoder",
    "CoTracker3Tracker",
    "FrechetDistance",
    "ImageEncoder",
    "ImageTextEncoder",
    "InceptionFeatures",
    "KernelDistance",
    "MotionFidelity",
    "OpenCVTracker",
    "PerSampleMetric",
    "RaftTracker",
    "TemporalConsistency",
    "TextSimilarity",
    "Tracker",
    "Tracks",
    "VideoMetric",
    "embed_videos",
    "frechet_from_features",
    "kernel_distance",
    "load_encoder",
    "load_features",
    "load_tracker",
    "motion_fidelity",
    "temporal_consistency",
    "text_similarity",
    "track_correlations",
    "track_videos",
]
