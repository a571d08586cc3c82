"""What FID and KID share: features of the generated frames, and the set of frames that these are compared with."""

from __future__ import annotations

import warnings
from abc import abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torchmetrics.utilities import dim_zero_cat

from motion_ablation.metrics.base import VideoMetric, check_frames
from motion_ablation.metrics.memo import content_key
from motion_ablation.metrics.networks.encoders import ImageEncoder, embed_videos, load_features
from motion_ablation.metrics.reference_set import folder_features

REFERENCE = "reference"


class SetDistance(VideoMetric):
    """A distance between the set of all generated frames and a reference set, a set-level number.

    Lower is nearer, but not better as such: a copy of the reference has distance 0, and a video in other colours, as the prompt asks for, a
    large one. So studies show it without a verdict.

    Args:
        features: ``shapes`` or another source of ``ClipEncoder`` (unit vectors), ``inception``, ``inception:PATH``, or an ``ImageEncoder``.
        against: ``reference`` (the references' frames; each distinct reference video counts once, however often it is given), a folder
            of images, videos and kept frames (every frame of them, at its own size), or a statistics file of clean-fid (``.npz``).

    Raises:
        ValueError: for an ``against`` that is not there.
    """

    reads: tuple[str, ...] = ("frames", "reference")
    sources = ("features", "against")
    shares: Mapping[str, str] = {"features": "encoder"}
    higher_is_better = None
    per_sample = False
    formula: str
    reference_features: list[Tensor] | Tensor
    reference_keys: list[Tensor] | Tensor

    def __init__(self, features: str | ImageEncoder = "shapes", against: str | Path = REFERENCE) -> None:
        super().__init__()
        self._features = (load_features(features) if isinstance(features, str) else features,)
        self.path = None if against == REFERENCE else Path(against).expanduser()
        if self.path is not None:
            if not self.path.is_dir() and not (self.path.suffix == ".npz" and self.path.is_file()):
                raise ValueError(f"against must be '{REFERENCE}', a folder, or a clean-fid statistics file (.npz), not {against}")
            self.reads = ("frames",)
        self._sizes: dict[str, int] = {}
        self._seen: set[bytes] = set()
        self.add_state("reference_features", [], dist_reduce_fx="cat")
        self.add_state("reference_keys", [], dist_reduce_fx="cat")

    @property
    def protocol(self) -> dict[str, object]:
        """Network, resize, formula, reference set; after ``compute`` also the numbers of frames and dimensions, and any warning."""
        (features,) = self._features
        stated: dict[str, object] = {
            "network": features.name,
            "resize": features.resize,
            "formula": self.formula,
            "against": str(self.path or "the references' frames, each distinct video once"),
        }
        stated.update(self._sizes)
        if self.warning:
            stated["warning"] = self.warning
        return stated

    @property
    def warning(self) -> str:
        """What is wrong with the latest computed number; empty where nothing is."""
        return ""

    def features_of(self, frames: Tensor) -> Tensor:
        """Features of every frame of ``(b, f, 3, h, w)``: ``(b·f, d)``, to pool with other runs'."""
        return embed_videos(self._features[0], check_frames(frames)).flatten(0, 1)

    def update(self, frames: Tensor, reference: Tensor | None = None) -> None:
        """Adds ``(b, f, 3, h, w)`` generated and ``(b', f', 3, h', w')`` reference frames; the latter only against ``reference``."""
        if self.path is None and reference is None:
            raise ValueError(f"{self.name} compares with the reference's frames: give reference, or set against to a folder")
        generated = self.features_of(frames)
        if self.path is None and reference is not None:
            self._add_reference(check_frames(reference, "reference"))
        self.add_generated(generated)

    @abstractmethod
    def from_features(self, generated: Tensor, reference: Tensor) -> float:
        """The distance between features ``(n, d)`` and ``(m, d)``, n, m >= 2, leaving the state alone: for resampled sets."""

    @abstractmethod
    def add_generated(self, features: Tensor) -> None:
        """Adds the features ``(n, d)`` of generated frames to the state."""

    def _add_reference(self, videos: Tensor) -> None:
        assert isinstance(self.reference_features, list) and isinstance(self.reference_keys, list)
        for video, features in zip(videos, embed_videos(self._features[0], videos), strict=True):
            key = content_key(video)
            if key not in self._seen:
                self._seen.add(key)
                first = torch.tensor(int.from_bytes(key[:8], "big", signed=True), device=self.device)
                self.reference_features.append(features.to(self.device))
                self.reference_keys.append(first + torch.arange(len(features), device=self.device))  # one key per row; it may wrap around

    def reference_rows(self) -> Tensor:
        """Features of the reference set, ``(m, d)``; a video that several processes hold counts once."""
        if self.path is not None:
            return folder_features(self._features[0], self.path, self.device)
        if len(self.reference_keys) == 0:
            return torch.zeros(0, self._features[0].dimension)
        keys, features = dim_zero_cat(self.reference_keys), dim_zero_cat(self.reference_features)
        _, first = np.unique(keys.cpu().numpy(), return_index=True)
        return features[torch.from_numpy(np.sort(first)).to(features.device)]

    def reset(self) -> None:
        """Forgets all frames."""
        super().reset()
        self._seen.clear()

    def sync(self, *args: Any, **kwargs: Any) -> None:
        """Joins the processes' states; a process that has seen no video first gives its state the shape of the others'."""
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            self.shape_states(self._features[0].dimension)
        super().sync(*args, **kwargs)

    def shape_states(self, dimension: int) -> None:
        """Gives empty states no rows of ``dimension`` numbers."""
        for name, value in self.metric_state.items():
            if isinstance(value, list) and not value:
                empty = torch.zeros(0, dtype=torch.long) if name == "reference_keys" else torch.zeros(0, dimension)
                setattr(self, name, [empty.to(self.device)])

    def too_few(self, generated: int, reference: int) -> Tensor | None:
        """NaN, with a warning, where a set has fewer than two frames."""
        if min(generated, reference) >= 2:
            return None
        warnings.warn(f"{self.name} needs at least 2 generated and 2 reference frames: NaN", stacklevel=3)
        return torch.tensor(float("nan"), dtype=torch.float64)
