"""Prompt colours: whether a built-in video shows the two colours that its prompt names."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from motion_ablation.metrics.base import METRICS
from motion_ablation.metrics.segmentation import shows_colors
from motion_ablation.metrics.truth_metric import TruthMetric


@METRICS.register("prompt_colors")
class PromptColors(TruthMetric):
    """Whether the object and the background have the prompt's colours, 0 or 1, so that the mean is a share; higher is better.

    For built-in prompts only, else NaN.
    """

    name = "prompt_colors"
    reads = ("frames", "prompt")
    higher_is_better = True
    range = (0.0, 1.0)
    unit = "share of videos"
    formula = "1 if in 75 % of the frames the background's colour has most of the border, and the object's 1 to 60 % of the frame"

    def judge(self, frames: Tensor, color: str, background: str, truth: Mapping[str, Tensor]) -> float:
        return float(shows_colors(frames, color, background))
