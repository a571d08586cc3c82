"""Temporal consistency: how alike a video's frames are."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from motion_ablation.metrics.base import METRICS, PerSampleMetric, check_frames
from motion_ablation.metrics.networks.encoders import ImageEncoder, embed_videos, load_encoder

PAIRS = ("consecutive", "all", "first")


def temporal_consistency(images: Tensor, pairs: str = "consecutive") -> Tensor:
    """Mean cosine between the embeddings of pairs of frames.

    Args:
        images: ``(b, f, d)``. pairs: ``consecutive``; ``all``, every two different frames; ``first``, each later frame with the first.

    Returns:
        ``(b,)`` in ``[-1, 1]``; a frozen video scores 1.

    Raises:
        ValueError: for fewer than two frames, which have no pair; for other pairs.
    """
    if images.shape[1] < 2:
        raise ValueError(f"temporal consistency needs at least 2 frames, not {images.shape[1]}")
    if pairs not in PAIRS:
        raise ValueError(f"unknown pairs '{pairs}'. Choices: {', '.join(PAIRS)}")
    if pairs == "all":
        images = F.normalize(images, dim=-1)
        earlier, later = torch.triu_indices(images.shape[1], images.shape[1], 1, device=images.device)
        return (images @ images.mT)[:, earlier, later].clamp(-1, 1).mean(1)
    return F.cosine_similarity(images[:, 1:], images[:, :-1] if pairs == "consecutive" else images[:, :1], dim=-1).mean(1)


@METRICS.register("temporal_consistency")
class TemporalConsistency(PerSampleMetric):
    """Mean CLIP cosine of consecutive frames, in [-1, 1]; higher is better, but a frozen video scores 1.

    Read it beside ``dynamic_degree``, which is 0 there.

    Args:
        encoder: a source of ``ClipEncoder`` (``shapes``, a folder, a hub repository) or an ``ImageEncoder``.
        pairs: ``consecutive``; ``all``, every two different frames; ``first``, each later frame with the first (slow drift shows).
    """

    name = "temporal_consistency"
    sources = ("encoder",)
    reads = ("frames",)
    sources = ("encoder",)
    higher_is_better = True
    range = (-1.0, 1.0)
    unit = "cosine"
    frames_needed = 2

    def __init__(self, encoder: str | ImageEncoder = "shapes", pairs: str = "consecutive") -> None:
        super().__init__()
        if pairs not in PAIRS:
            raise ValueError(f"unknown pairs '{pairs}'. Choices: {', '.join(PAIRS)}")
        self.pairs = pairs
        self._encoder = (load_encoder(encoder) if isinstance(encoder, str) else encoder,)

    @property
    def protocol(self) -> dict[str, object]:
        (encoder,) = self._encoder
        which = {"consecutive": "consecutive frames", "all": "all pairs of frames", "first": "each later frame and the first"}[self.pairs]
        return {"network": encoder.name, "resize": encoder.resize, "formula": f"mean cosine of {which}", "pairs": self.pairs}

    def score(self, frames: Tensor) -> Tensor:
        """``(b, f, 3, h, w)``, f >= 2, to ``(b,)``."""
        return temporal_consistency(embed_videos(self._encoder[0], check_frames(frames)), self.pairs)
