"""Subject consistency: whether a video keeps showing the same subject, as VBench measures it (Huang et al. 2024)."""

from __future__ import annotations

from motion_ablation.metrics.background_consistency import ConsistencyMetric
from motion_ablation.metrics.base import METRICS
from motion_ablation.metrics.networks.encoders import ImageEncoder
from motion_ablation.metrics.networks.vision import DINO, load_vision


@METRICS.register("subject_consistency")
class SubjectConsistency(ConsistencyMetric):
    """DINO cosine of frames with the first and the previous frame (VBench), in [0, 1]; higher is better, but a frozen video scores 1.

    Args:
        features: a folder or a hub repository of a vision transformer that ``transformers`` knows, or an ``ImageEncoder``; VBench's
            network is the default, DINO ViT-B/16.
    """

    name = "subject_consistency"
    sources = ("features",)

    def __init__(self, features: str | ImageEncoder = DINO) -> None:
        super().__init__(load_vision(features) if isinstance(features, str) else features)
