"""Temporal consistency: how alike a video's consecutive frames are."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from motion_ablation.metrics.base import METRICS, PerSampleMetric, check_frames
from motion_ablation.metrics.features import ImageEncoder, embed_videos, load_encoder


def temporal_consistency(images: Tensor) -> Tensor:
    """Mean cosine between the embeddings of consecutive frames.

    Args:
        images: ``(b, f, d)``.

    Returns:
        ``(b,)`` in ``[-1, 1]``; a frozen video scores 1.

    Raises:
        ValueError: for fewer than two frames, which have no consecutive pair.
    """
    if images.shape[1] < 2:
        raise ValueError(f"temporal consistency needs at least 2 frames, not {images.shape[1]}")
    return F.cosine_similarity(images[:, 1:], images[:, :-1], dim=-1).mean(1)


@METRICS.register("temporal_consistency")
class TemporalConsistency(PerSampleMetric):
    """Mean CLIP cosine of consecutive frames, in [-1, 1]; higher is better, but a frozen video scores 1.

    Args:
        encoder: a source of ``ClipEncoder`` (``shapes``, a folder, a hub repository) or an ``ImageEncoder``.
    """

    name = "temporal_consistency"
    reads = ("frames",)
    higher_is_better = True
    range = (-1.0, 1.0)
    unit = "cosine"

    def __init__(self, encoder: str | ImageEncoder = "shapes") -> None:
        super().__init__()
        self._encoder = (load_encoder(encoder) if isinstance(encoder, str) else encoder,)

    @property
    def protocol(self) -> dict[str, object]:
        (encoder,) = self._encoder
        return {"network": encoder.name, "resize": encoder.resize, "formula": "mean cosine of consecutive frames"}

    def score(self, frames: Tensor) -> Tensor:
        """``(b, f, 3, h, w)``, f >= 2, to ``(b,)``."""
        return temporal_consistency(embed_videos(self._encoder[0], check_frames(frames)))
