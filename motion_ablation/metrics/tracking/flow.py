"""Dense optical flow of videos: OpenCV's DIS (Kroeger et al. 2016), offline, and torchvision's RAFT."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor

from motion_ablation.metrics.tracking.load import split_name
from motion_ablation.metrics.tracking.raft import PAIRS, FlowFunction, load_raft
from motion_ablation.registry import UnknownName

LUMA = (0.299, 0.587, 0.114)


def dis(earlier: Tensor, later: Tensor) -> Tensor:
    """Dense inverse search of brightness, medium preset; see ``FlowFunction``. It is blind to colours that are equally bright."""
    search = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    weights = earlier.new_tensor(LUMA)[:, None, None]
    grey = [((frames * weights).sum(1) * 255).round().byte().cpu().numpy() for frames in (earlier, later)]
    found = np.stack([search.calc(first, second, None) for first, second in zip(*grey, strict=True)])
    return torch.from_numpy(found).permute(0, 3, 1, 2).to(earlier.device)


def raft(path: Path | None) -> FlowFunction:
    """RAFT of a weights file, loaded at first use; None as in :func:`~motion_ablation.metrics.tracking.raft.find_raft`."""
    network: Callable[[], torch.nn.Module] = cache(lambda: load_raft(path))

    @torch.no_grad()
    def flow(earlier: Tensor, later: Tensor) -> Tensor:
        pairs = zip(earlier.split(PAIRS), later.split(PAIRS), strict=True)
        return torch.cat([network().to(earlier.device)(2 * first - 1, 2 * second - 1)[-1] for first, second in pairs])

    return flow


@cache
def load_flow(name: str) -> FlowFunction:
    """The flow called ``dis``, ``raft`` or ``raft:PATH``; one object per name. Frames' sides must be multiples of 8, 128 or more.

    Raises:
        UnknownName: for another name.
    """
    kind, path, options = split_name(name)
    if kind == "dis" and not path and not options:
        return dis
    if kind == "raft" and not options:
        return raft(Path(path).expanduser() if path else None)
    raise UnknownName(f"unknown flow '{name}'. Choices: dis, raft, raft:PATH")
