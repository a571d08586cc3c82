"""CoTracker3: a network that follows points (Karaev et al. 2024)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from motion_ablation.metrics.tracking.tracks import TRACKERS, Tracks
from motion_ablation.weights import HOME, MissingWeights, find_file

COTRACKER_FILE = "scaled_offline.pth"


@TRACKERS.register("cotracker3")
class CoTracker3Tracker:
    """CoTracker3 (Karaev et al. 2024), offline model, from a local checkout of facebookresearch/co-tracker; loaded at first use.

    Args:
        checkpoint: the weights file, ``scaled_offline.pth`` of facebook/cotracker3 (its licence: CC-BY-NC 4.0).
        repository: the checkout; by default the folder ``co-tracker`` beside the weights file.
        grid: points per side of the regular grid of first-frame points.

    Raises:
        MissingWeights: at first use, where the file or the checkout is not there; one line says what to fetch.
    """

    def __init__(self, checkpoint: str | Path = HOME / COTRACKER_FILE, repository: str | Path | None = None, grid: int = 20) -> None:
        self.checkpoint = Path(checkpoint).expanduser()
        self.repository = Path(repository).expanduser() if repository else self.checkpoint.parent / "co-tracker"
        self.grid = grid
        self.name = f"cotracker3, grid {grid}"
        self._network: Any = None

    def _load(self) -> Any:
        checkpoint = find_cotracker(self.checkpoint)
        if not (self.repository / "hubconf.py").is_file():
            raise MissingWeights(
                f"CoTracker3's code (licence CC-BY-NC 4.0: no commercial use) is not at {self.repository}: "
                f"git clone https://github.com/facebookresearch/co-tracker {self.repository}"
            )
        network: Any = torch.hub.load(str(self.repository), "cotracker3_offline", source="local", pretrained=False)
        state = torch.load(checkpoint, map_location="cpu", weights_only=True)
        network.model.load_state_dict(state.get("model", state))
        return network.eval().requires_grad_(False)

    @torch.no_grad()
    def __call__(self, frames: Tensor) -> Tracks:
        """Tracks ``(b, f, 3, h, w)`` in ``[0, 1]``, on the frames' device."""
        self._network = (self._network or self._load()).to(frames.device)
        pixels, visible = self._network(frames.float() * 255, grid_size=self.grid)
        extent = pixels.new_tensor([frames.shape[-1], frames.shape[-2]])
        return Tracks((2 * pixels + 1) / extent - 1, visible.bool())


def find_cotracker(checkpoint: Path) -> Path:
    """CoTracker3's weights file. Raises :class:`MissingWeights` where there is none."""
    fetch = f"hf download facebook/cotracker3 {COTRACKER_FILE} --local-dir {{folder}}"
    return find_file([COTRACKER_FILE], "CoTracker3's weights (licence CC-BY-NC 4.0: no commercial use)", fetch, given=checkpoint)
