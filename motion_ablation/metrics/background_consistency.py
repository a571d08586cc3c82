"""Background consistency: whether a video keeps showing the same scene, as VBench measures it (Huang et al. 2024)."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from motion_ablation.metrics.base import METRICS, PerSampleMetric, check_frames
from motion_ablation.metrics.networks.encoders import ImageEncoder, embed_videos, load_encoder


def vbench_consistency(images: Tensor) -> Tensor:
    """VBench's consistency of a subject or background, with the embeddings that it is given.

    The mean over later frames of half the sum of two cosines, with the first frame and with the previous one, each not below 0.

    Args:
        images: ``(b, f, d)``.

    Returns:
        ``(b,)`` in ``[0, 1]``; a frozen video scores 1.

    Raises:
        ValueError: for fewer than two frames.
    """
    if images.shape[1] < 2:
        raise ValueError(f"consistency needs at least 2 frames, not {images.shape[1]}")
    first, previous = (F.cosine_similarity(images[:, 1:], other, dim=-1).clamp(0, 1) for other in (images[:, :1], images[:, :-1]))
    return (first + previous).mean(1) / 2


class ConsistencyMetric(PerSampleMetric):
    """VBench's consistency under one network; subclasses say which, and load it.

    VBench resizes frames without anti-aliasing; here the network's own preprocessing is used, which has it. So numbers differ a little
    where frames are larger than the network's input.
    """

    reads = ("frames",)
    higher_is_better = True
    range = (0.0, 1.0)
    unit = "cosine"
    frames_needed = 2

    def __init__(self, encoder: ImageEncoder) -> None:
        super().__init__()
        self._encoder = (encoder,)

    @property
    def protocol(self) -> dict[str, object]:
        (encoder,) = self._encoder
        formula = "VBench: mean over later frames of (cos with the first + cos with the previous) / 2, each clamped at 0"
        return {"network": encoder.name, "resize": encoder.resize, "formula": formula}

    def score(self, frames: Tensor) -> Tensor:
        """``(b, f, 3, h, w)``, f >= 2, to ``(b,)``."""
        return vbench_consistency(embed_videos(self._encoder[0], check_frames(frames)))


@METRICS.register("background_consistency")
class BackgroundConsistency(ConsistencyMetric):
    """CLIP cosine of frames with the first and the previous frame (VBench), in [0, 1]; higher is better, but a frozen video scores 1.

    Args:
        encoder: a source of ``ClipEncoder`` (``shapes``, a folder, a hub repository) or an ``ImageEncoder``; VBench's is
            ``openai/clip-vit-base-patch32``.
    """

    name = "background_consistency"
    sources = ("encoder",)

    def __init__(self, encoder: str | ImageEncoder = "shapes") -> None:
        super().__init__(load_encoder(encoder) if isinstance(encoder, str) else encoder)
