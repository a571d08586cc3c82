"""Metrics of generated videos, one per file, and the functions and networks behind them."""

from motion_ablation.metrics.appearance_leakage import AppearanceLeakage, appearance_leakage
from motion_ablation.metrics.background_consistency import BackgroundConsistency, vbench_consistency
from motion_ablation.metrics.base import METRICS, PerSampleMetric, VideoMetric
from motion_ablation.metrics.calibrated_motion import calibrated_motion_fidelity
from motion_ablation.metrics.config import EvaluationConfig
from motion_ablation.metrics.direction import Direction, direction
from motion_ablation.metrics.diversity import Diversity, diversity
from motion_ablation.metrics.dynamic_degree import DynamicDegree, dynamic_degree
from motion_ablation.metrics.fid import FrechetDistance, frechet_from_features
from motion_ablation.metrics.flow_error import FlowError, endpoint_error
from motion_ablation.metrics.ftd import FrechetTrajectoryDistance, frechet_distance, ftd
from motion_ablation.metrics.kid import KernelDistance, kernel_distance
from motion_ablation.metrics.motion_fidelity import MotionFidelity, dmt_motion_fidelity, motion_fidelity, track_correlations
from motion_ablation.metrics.motion_smoothness import MotionSmoothness, motion_smoothness
from motion_ablation.metrics.networks.encoders import (
    ClipEncoder,
    ImageEncoder,
    ImageTextEncoder,
    embed_videos,
    load_encoder,
    load_features,
)
from motion_ablation.metrics.networks.inception import InceptionFeatures
from motion_ablation.metrics.networks.vision import VisionEncoder, load_vision
from motion_ablation.metrics.prompt_colors import PromptColors
from motion_ablation.metrics.subject_background import SubjectBackground
from motion_ablation.metrics.subject_consistency import SubjectConsistency
from motion_ablation.metrics.temporal_consistency import TemporalConsistency, temporal_consistency
from motion_ablation.metrics.text_similarity import TextSimilarity, text_similarity
from motion_ablation.metrics.track_chamfer import TrackChamfer, track_chamfer
from motion_ablation.metrics.tracking import CoTracker3Tracker, OpenCVTracker, RaftTracker, Tracker, Tracks, track_videos
from motion_ablation.metrics.tracking.load import load_tracker
from motion_ablation.metrics.trajectory_error import TrajectoryError, trajectory_error

__all__ = [
    "METRICS",
    "AppearanceLeakage",
    "BackgroundConsistency",
    "ClipEncoder",
    "CoTracker3Tracker",
    "Direction",
    "Diversity",
    "DynamicDegree",
    "EvaluationConfig",
    "FlowError",
    "FrechetDistance",
    "FrechetTrajectoryDistance",
    "ImageEncoder",
    "ImageTextEncoder",
    "InceptionFeatures",
    "KernelDistance",
    "MotionFidelity",
    "MotionSmoothness",
    "OpenCVTracker",
    "PerSampleMetric",
    "PromptColors",
    "RaftTracker",
    "SubjectBackground",
    "SubjectConsistency",
    "TemporalConsistency",
    "TextSimilarity",
    "TrackChamfer",
    "Tracker",
    "Tracks",
    "TrajectoryError",
    "VideoMetric",
    "VisionEncoder",
    "appearance_leakage",
    "calibrated_motion_fidelity",
    "direction",
    "diversity",
    "dmt_motion_fidelity",
    "dynamic_degree",
    "embed_videos",
    "endpoint_error",
    "frechet_distance",
    "frechet_from_features",
    "ftd",
    "kernel_distance",
    "load_encoder",
    "load_features",
    "load_tracker",
    "load_vision",
    "motion_fidelity",
    "motion_smoothness",
    "temporal_consistency",
    "text_similarity",
    "track_chamfer",
    "track_correlations",
    "track_videos",
    "trajectory_error",
    "vbench_consistency",
]
