"""What the metrics share that judge a video of the built-in world by what is known of it."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from motion_ablation.metrics.base import PerSampleMetric, check_frames, check_prompts
from motion_ablation.metrics.segmentation import appearance_of, object_centers


class TruthMetric(PerSampleMetric):
    """A score of a built-in video; NaN where the prompt is not of the built-in world. Subclasses give :meth:`judge`."""

    requires_truth = True
    formula: str

    @property
    def protocol(self) -> dict[str, object]:
        return {"formula": self.formula}

    @abstractmethod
    def judge(self, frames: Tensor, color: str, background: str, truth: Mapping[str, Tensor]) -> float:
        """The score of one video ``(f, 3, h, w)`` of an object of one colour on a background of another, named in ``COLORS``; or NaN."""

    def score(self, frames: Tensor, prompt: Sequence[str], truth: Sequence[Mapping[str, Tensor]] | None = None) -> Tensor:
        """``(b, f, 3, h, w)``, ``b`` texts and, where :attr:`reads` names it, ``b`` times the reference's truth, to ``(b,)``."""
        frames, known = check_frames(frames), truth or [{}] * len(frames)
        scores = []
        for video, text, facts in zip(frames, check_prompts(prompt, len(frames)), known, strict=True):
            appearance = appearance_of(text)
            scores.append(float("nan") if appearance is None else self.judge(video, *appearance[1:], facts))
        return torch.tensor(scores, dtype=torch.float64, device=frames.device)


class PathMetric(TruthMetric):
    """A score of the object's path against the reference's true one; NaN without ``truth['center']``, or with one of another length."""

    reads = ("frames", "prompt", "truth")

    @abstractmethod
    def compare(self, centers: Tensor, visible: Tensor, truth: Tensor) -> Tensor:
        """The score of a path ``(f, 2)``, which holds where ``visible`` ``(f,)``, against the true ``(f, 2)``, all in ``[-1, 1]``."""

    def judge(self, frames: Tensor, color: str, background: str, truth: Mapping[str, Tensor]) -> float:
        center = truth.get("center")
        if center is None or len(center) != len(frames):
            return float("nan")
        return float(self.compare(*object_centers(frames, color), center.to(frames)))
