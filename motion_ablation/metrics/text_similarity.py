"""Text similarity: how well a video's frames show its prompt."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from motion_ablation.metrics.base import METRICS, PerSampleMetric, check_frames, check_prompts
from motion_ablation.metrics.features import ImageTextEncoder, embed_videos, load_encoder


def text_similarity(images: Tensor, texts: Tensor) -> Tensor:
    """Mean over frames of the raw cosine between image and text embeddings (neither scaled nor clamped).

    Args:
        images: ``(b, f, d)``. texts: ``(b, d)``; one text per video.

    Returns:
        ``(b,)`` in ``[-1, 1]``.
    """
    return F.cosine_similarity(images, texts[:, None], dim=-1).mean(1)


@METRICS.register("text_similarity")
class TextSimilarity(PerSampleMetric):
    """Mean cosine of a video's frames and its prompt under CLIP, in [-1, 1]; higher is better.

    Args:
        encoder: a source of ``ClipEncoder`` (``shapes``, a folder, a hub repository) or an ``ImageTextEncoder``.
    """

    name = "text_similarity"
    reads = ("frames", "prompt")
    higher_is_better = True
    range = (-1.0, 1.0)
    unit = "cosine"

    def __init__(self, encoder: str | ImageTextEncoder = "shapes") -> None:
        super().__init__()
        self._encoder = (load_encoder(encoder) if isinstance(encoder, str) else encoder,)

    @property
    def protocol(self) -> dict[str, object]:
        (encoder,) = self._encoder
        return {"network": encoder.name, "resize": encoder.resize, "formula": "mean over frames of the raw cosine of frame and prompt"}

    def score(self, frames: Tensor, prompt: list[str]) -> Tensor:
        """``(b, f, 3, h, w)`` and ``b`` texts to ``(b,)``."""
        frames = check_frames(frames)
        (encoder,) = self._encoder
        images = embed_videos(encoder, frames)
        return text_similarity(images, encoder.texts(check_prompts(prompt, len(frames))).to(images.device))
