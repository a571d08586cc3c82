"""Appearance leakage: how much of the reference's look, beside its motion, a generated video shows."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from motion_ablation.metrics.base import METRICS, PerSampleMetric, check_frames
from motion_ablation.metrics.networks.encoders import ImageEncoder, embed_videos, load_encoder


def appearance_leakage(images: Tensor, reference: Tensor) -> Tensor:
    """Mean over generated frames of the cosine with the most similar reference frame.

    The best match, not the mean over the reference's frames: what leaks is one moment's look (the car at its closest), at any time of the
    video, and a mean would fall with the reference's own variety.

    Args:
        images: ``(b, f, d)``. reference: ``(b, f', d)``.

    Returns:
        ``(b,)`` in ``[-1, 1]``; 1 for the reference itself.
    """
    cosines = F.normalize(images, dim=-1) @ F.normalize(reference, dim=-1).mT
    return cosines.amax(-1).clamp(-1, 1).mean(1)


@METRICS.register("appearance_leakage")
class AppearanceLeakage(PerSampleMetric):
    """Mean CLIP cosine of a video's frames with the most similar frame of its reference, in [-1, 1]; lower is better.

    Prompts that ask for what the reference shows are alike without any leak: only what exceeds the backbone alone, on the same prompt,
    seed and noise, has leaked; a study has it as a row (``no_motion``).

    Args:
        encoder: a source of ``ClipEncoder`` (``shapes``, a folder, a hub repository) or an ``ImageEncoder``.
    """

    name = "appearance_leakage"
    sources = ("encoder",)
    reads = ("frames", "reference")
    higher_is_better = False
    range = (-1.0, 1.0)
    unit = "cosine"

    def __init__(self, encoder: str | ImageEncoder = "shapes") -> None:
        super().__init__()
        self._encoder = (load_encoder(encoder) if isinstance(encoder, str) else encoder,)

    @property
    def protocol(self) -> dict[str, object]:
        (encoder,) = self._encoder
        formula = "mean over frames of the cosine with the most similar reference frame"
        return {"network": encoder.name, "resize": encoder.resize, "formula": formula}

    def score(self, frames: Tensor, reference: Tensor) -> Tensor:
        """``(b, f, 3, h, w)`` and ``(b, f', 3, h', w')`` to ``(b,)``."""
        frames, reference = check_frames(frames), check_frames(reference, "reference")
        if len(frames) != len(reference):
            raise ValueError(f"one reference per video is needed, not {len(reference)} for {len(frames)}")
        return appearance_leakage(embed_videos(self._encoder[0], frames), embed_videos(self._encoder[0], reference))
