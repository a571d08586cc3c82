"""Flow error: endpoint error of a video's optical flow against its reference's."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from motion_ablation.metrics.base import METRICS, PerSampleMetric, check_frames
from motion_ablation.metrics.memo import once_per_video
from motion_ablation.metrics.tracking.flow import load_flow
from motion_ablation.metrics.tracking.raft import FlowFunction

SIZE = 256
"""Frames are brought to this short side."""


def endpoint_error(flow: Tensor, other: Tensor) -> Tensor:
    """Mean length of the difference of two flows (Otte & Nagel 1994), over pixels and steps.

    Args:
        flow, other: ``(f, 2, h, w)``, in one unit.

    Returns:
        A scalar, 0 or more, in that unit.
    """
    return (flow - other).norm(dim=1).mean()


@METRICS.register("flow_error")
class FlowError(PerSampleMetric):
    """Mean distance of a video's optical flow from its reference's, pixel by pixel, in half short sides per frame; lower is better.

    A video that stands still scores the reference's own mean flow, so most of the number says how much the reference moves. Both videos
    are brought to the reference's aspect; of different lengths the common number of first frames is compared.

    Args:
        flow: ``dis`` (OpenCV's, offline), ``raft`` or ``raft:PATH`` of its weights, or a function, see ``tracking.raft.FlowFunction``.
    """

    name = "flow_error"
    reads = ("frames", "reference")
    sources = ("flow",)
    higher_is_better = False
    range = (0.0, float("inf"))
    unit = "half short sides per frame"
    frames_needed = 2

    def __init__(self, flow: str | FlowFunction = "dis") -> None:
        super().__init__()
        self._called = flow if isinstance(flow, str) else getattr(flow, "__name__", type(flow).__name__)
        self._flow = (load_flow(flow) if isinstance(flow, str) else flow,)
        self._memo: OrderedDict[Any, Tensor] = OrderedDict()

    @property
    def protocol(self) -> dict[str, object]:
        formula = "mean over pixels and steps of the length of the difference of the two flows (endpoint error)"
        return {
            "flow": self._called,
            "resize": f"both to the reference's aspect, short side {SIZE}, antialiased bilinear",
            "formula": formula,
        }

    def score(self, frames: Tensor, reference: Tensor) -> Tensor:
        """``(b, f, 3, h, w)`` and ``(b, f', 3, h', w')``, two frames or more, to ``(b,)``."""
        frames, reference = check_frames(frames), check_frames(reference, "reference")
        length = min(frames.shape[1], reference.shape[1])
        if length < 2:
            raise ValueError(f"flow error needs at least 2 frames, not {frames.shape[1]} and {reference.shape[1]}")
        short = min(reference.shape[-2:])
        shape = tuple(8 * round(side * SIZE / short / 8) for side in reference.shape[-2:])
        mine, theirs = (self._flows(videos[:, :length], shape) for videos in (frames, reference))
        return torch.stack([endpoint_error(a, b) for a, b in zip(mine, theirs, strict=True)])

    def _flows(self, videos: Tensor, shape: tuple[int, ...]) -> list[Tensor]:
        """The flow of each video, ``(f - 1, 2, *shape)``, in half short sides."""
        resized = F.interpolate(videos.flatten(0, 1), size=shape, mode="bilinear", antialias=True, align_corners=False)
        (flow,) = self._flow

        def compute(new: Tensor) -> list[Tensor]:
            return [flow(video[:-1], video[1:]) / (min(shape) / 2) for video in new]

        return once_per_video(self._memo, resized.unflatten(0, videos.shape[:2]), compute)
