"""Points followed by dense optical flow: RAFT (Teed & Deng 2020) from torchvision, chained from frame to frame."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from motion_ablation.metrics.tracking.tracks import TRACKERS, Tracks
from motion_ablation.weights import HOME, find_file

FlowFunction = Callable[[Tensor, Tensor], Tensor]
"""Two batches of frames ``(n, 3, h, w)`` in ``[0, 1]`` to the flow from the first to the second, ``(n, 2, h, w)``: (x, y) in pixels."""

RAFT_URLS = tuple(
    f"https://download.pytorch.org/models/{file}" for file in ("raft_large_C_T_SKHT_V2-ff5fadd5.pth", "raft_small_C_T_V2-01064c6d.pth")
)
SMALLEST = 128  # RAFT's coarsest correlations need a frame of this size
PAIRS = 8  # frame pairs per forward pass


def chain_flows(points: Tensor, forward: Tensor, backward: Tensor) -> Tracks:
    """Follows points through the flows between consecutive frames, sampled bilinearly.

    A point is lost for good where it leaves the frame, or where the flow there and the flow back miss its start by more than
    ``|u + v|² > 0.01 (|u|² + |v|²) + 0.5`` square pixels, the test for occlusion of Sundaram, Brox & Keutzer 2010.

    Args:
        points: ``(n, 2)`` in the first frame, ``(x, y)`` in ``[-1, 1]``.
        forward: ``(f - 1, 2, h, w)``, flow of frame t to t + 1 in pixels. backward: the same shape, of frame t + 1 to t.

    Returns:
        Tracks of one video, ``b = 1``; a lost point stays where it was last seen.
    """
    half = points.new_tensor([forward.shape[-1], forward.shape[-2]]) / 2
    seen = (points.abs() <= 1).all(-1)
    path, visible = [points], [seen]
    for there, back in zip(forward, backward, strict=True):
        u = _at(there, points)
        moved = points + u / half
        v = _at(back, moved)
        returns = (u + v).square().sum(-1) <= 0.01 * (u.square().sum(-1) + v.square().sum(-1)) + 0.5
        seen = seen & returns & (moved.abs() <= 1).all(-1)
        points = torch.where(seen[:, None], moved, points)
        path.append(points)
        visible.append(seen)
    return Tracks(torch.stack(path)[None], torch.stack(visible)[None])


def _at(flow: Tensor, points: Tensor) -> Tensor:
    """A flow ``(2, h, w)`` at points ``(n, 2)``: ``(n, 2)``; points outside get the border's."""
    return F.grid_sample(flow[None], points[None, None], mode="bilinear", padding_mode="border", align_corners=False)[0, :, 0].T


@TRACKERS.register("raft")
class RaftTracker:
    """A regular grid of first-frame points, followed by RAFT's flow; the network is loaded at first use, frozen.

    Frames are resized to multiples of 8: a shorter short side is enlarged to ``size``, a longer long side shrunk to ``limit``.

    Args:
        weights: a file of torchvision's ``raft_large`` or ``raft_small`` (told by its content). None: torchvision's own download
            location, large before small. Or a function that gives the flow, see ``FlowFunction``.
        grid: points per side. size: at least 128. limit: bounds the memory, which grows with the fourth power of the side.
        updates: RAFT's refinement steps.

    Raises:
        MissingWeights: at first use, where the file is not there; one line says what to fetch.
    """

    def __init__(
        self, weights: str | Path | FlowFunction | None = None, grid: int = 24, size: int = 256, limit: int = 1024, updates: int = 12
    ) -> None:
        if grid < 1 or size < SMALLEST or limit < size or updates < 1:
            raise ValueError(f"grid >= 1, limit >= size >= {SMALLEST} and updates >= 1 are needed, not {grid}, {limit}, {size}, {updates}")
        self.grid, self.size, self.limit, self.updates = grid, size, limit, updates
        self._flow: FlowFunction | None = None
        self._network: Any = None
        if weights is None or isinstance(weights, str | Path):
            self.name = f"raft {Path(weights).name if weights else ''}".strip() + f", grid {grid}"
            self.path = Path(weights).expanduser() if weights else None
        else:
            self.name = f"flow {getattr(weights, '__name__', type(weights).__name__)}"
            self._flow = weights

    @torch.no_grad()
    def __call__(self, frames: Tensor) -> Tracks:
        """Tracks ``(b, f, 3, h, w)`` in ``[0, 1]``, on the frames' device."""
        tracked = [self._track(video) for video in frames]
        return Tracks(torch.cat([tracks.points for tracks in tracked]), torch.cat([tracks.visible for tracks in tracked]))

    def _track(self, video: Tensor) -> Tracks:
        images = self._resized(video.float())
        earlier, later = images[:-1], images[1:]
        forward, backward = self._flows(earlier, later), self._flows(later, earlier)
        place = (torch.arange(self.grid, device=video.device) + 0.5) / self.grid * 2 - 1
        y, x = torch.meshgrid(place, place, indexing="ij")
        return chain_flows(torch.stack([x.flatten(), y.flatten()], -1), forward, backward)

    def _resized(self, video: Tensor) -> Tensor:
        height, width = video.shape[-2:]
        scale = max(1.0, self.size / min(height, width))
        scale *= min(1.0, self.limit / (scale * max(height, width)))
        shape = tuple(max(SMALLEST, 8 * round(side * scale / 8)) for side in (height, width))
        if shape == (height, width):
            return video
        return F.interpolate(video, size=shape, mode="bilinear", antialias=True, align_corners=False)

    def _flows(self, earlier: Tensor, later: Tensor) -> Tensor:
        if len(earlier) == 0:
            return earlier.new_zeros(0, 2, *earlier.shape[-2:])
        flow = self._flow or self._raft
        return torch.cat([flow(*pair) for pair in zip(earlier.split(PAIRS), later.split(PAIRS), strict=True)])

    def _raft(self, earlier: Tensor, later: Tensor) -> Tensor:
        self._network = (self._network or load_raft(self.path)).to(earlier.device)
        return self._network(2 * earlier - 1, 2 * later - 1, num_flow_updates=self.updates)[-1]


def find_raft(path: Path | None = None) -> Path:
    """RAFT's weights file; None looks for large before small, where torchvision downloads to and in ``~/.cache/motion_ablation``.

    Raises:
        MissingWeights: in one line, where there is none.
    """
    names = [url.rsplit("/", 1)[-1] for url in RAFT_URLS]
    url = RAFT_URLS["small" in path.name if path else 0]
    fetch = f"curl --create-dirs -o {{file}} {url}"
    return find_file(names, "RAFT's weights", fetch, given=path, places=[Path(torch.hub.get_dir()) / "checkpoints", HOME])


def load_raft(path: Path | None = None) -> torch.nn.Module:
    """torchvision's RAFT of a weights file, frozen; None as in :func:`find_raft`.

    Raises:
        MissingWeights: in one line, where the file is not there. ValueError: where it holds no RAFT.
    """
    from torchvision.models.optical_flow import raft_large, raft_small

    file = find_raft(path)
    state = torch.load(file, map_location="cpu", weights_only=True)
    build = raft_large if any(key.startswith("mask_predictor") for key in state) else raft_small
    network = build(weights=None)
    try:
        network.load_state_dict(state)
    except (RuntimeError, TypeError) as error:
        raise ValueError(f"{file} holds no weights of torchvision's raft_large or raft_small") from error
    return network.eval().requires_grad_(False)
