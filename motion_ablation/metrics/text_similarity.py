"""Text similarity: how well a video's frames show its prompt."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from motion_ablation.metrics.base import METRICS, PerSampleMetric, check_frames, check_prompts
from motion_ablation.metrics.networks.encoders import ImageTextEncoder, embed_videos, load_encoder


def text_similarity(images: Tensor, texts: Tensor) -> Tensor:
    """Mean over frames of the raw cosine between image and text embeddings (neither scaled nor clamped).

    Args:
        images: ``(b, f, d)``. texts: ``(b, d)``; one text per video.

    Returns:
        ``(b,)`` in ``[-1, 1]``.
    """
    return F.cosine_similarity(images, texts[:, None], dim=-1).mean(1)


SCALES = ("cosine", "torchmetrics")


@METRICS.register("text_similarity")
class TextSimilarity(PerSampleMetric):
    """Mean cosine of a video's frames and its prompt under CLIP, in [-1, 1]; higher is better.

    Args:
        encoder: a source of ``ClipEncoder`` (``shapes``, a folder, a hub repository) or an ``ImageTextEncoder``.
        scale: ``cosine``, raw; or ``torchmetrics``, what its ``CLIPScore`` gives for the frames of one video: the mean cosine times 100,
            not below 0. (It clamps the mean over all videos at once; here each video has a score.)

    Raises:
        ValueError: for another scale.
    """

    name = "text_similarity"
    reads = ("frames", "prompt")
    sources = ("encoder",)
    higher_is_better = True
    range: tuple[float, float] = (-1.0, 1.0)
    unit: str = "cosine"

    def __init__(self, encoder: str | ImageTextEncoder = "shapes", scale: str = "cosine") -> None:
        super().__init__()
        if scale not in SCALES:
            raise ValueError(f"unknown scale '{scale}'. Choices: {', '.join(SCALES)}")
        self.scale = scale
        self._cut: dict[str, str] = {}
        if scale == "torchmetrics":
            self.range, self.unit = (0.0, 100.0), "100 x cosine"
        self._encoder = (load_encoder(encoder) if isinstance(encoder, str) else encoder,)

    @property
    def protocol(self) -> dict[str, object]:
        (encoder,) = self._encoder
        formula = "mean over frames of the raw cosine of frame and prompt"
        if self.scale == "torchmetrics":
            formula = "100 x mean over frames of the cosine of frame and prompt, clamped at 0 (torchmetrics CLIPScore)"
        stated: dict[str, object] = {"network": encoder.name, "resize": encoder.resize, "formula": formula, "scale": self.scale}
        return stated | ({"cut_texts": self._cut} if self._cut else {})

    def score(self, frames: Tensor, prompt: list[str]) -> Tensor:
        """``(b, f, 3, h, w)`` and ``b`` texts to ``(b,)``."""
        frames = check_frames(frames)
        (encoder,) = self._encoder
        images = embed_videos(encoder, frames)
        texts = encoder.texts(check_prompts(prompt, len(frames)))
        scores = text_similarity(images, texts.to(images.device))
        left_out = getattr(encoder, "left_out", {})
        self._cut |= {text: left_out[text] for text in prompt if text in left_out}
        return 100 * scores.clamp(min=0) if self.scale == "torchmetrics" else scores
