"""What a network's folder says of its images: size, crop, mean and standard deviation."""

from __future__ import annotations

import json
from pathlib import Path

import torch.nn.functional as F
from torch import Tensor

BATCH = 64  # frames per forward pass


class Preprocessing:
    """Image preprocessing as tensor operations: resize of the short side, centre crop where there is one, normalisation."""

    def __init__(self, short: int, crop: tuple[int, int] | None, mean: list[float], std: list[float]) -> None:
        self.short, self.crop, self.mean, self.std = short, crop, mean, std

    @classmethod
    def read(cls, folder: Path, crop: bool = True) -> Preprocessing:
        """What a folder's ``preprocessor_config.json`` says; without ``crop``, frames keep their aspect ratio."""
        config = json.loads((folder / "preprocessor_config.json").read_text())
        size, window = config["size"], config.get("crop_size", config["size"])
        short = size if isinstance(size, int) else size.get("shortest_edge") or min(size["height"], size["width"])
        height, width = (window, window) if isinstance(window, int) else (window.get("height", short), window.get("width", short))
        return cls(short, (height, width) if crop else None, config["image_mean"], config["image_std"])

    def __str__(self) -> str:
        crop = "no crop" if self.crop is None else f"centre crop to {self.crop[0]}x{self.crop[1]}"
        return f"short side to {self.short} pixels, antialiased bicubic, {crop}, mean {self.mean}, std {self.std}"

    def __call__(self, frames: Tensor) -> Tensor:
        """``(n, 3, h, w)`` in ``[0, 1]`` to the network's ``(n, 3, h', w')``."""
        height, width = frames.shape[-2:]
        least = self.crop or (1, 1)
        # The long side is rounded down, as torchvision and transformers do.
        size = tuple(max(self.short * side // min(height, width), edge) for side, edge in zip((height, width), least, strict=True))
        if size != (height, width):
            frames = F.interpolate(frames, size=size, mode="bicubic", antialias=True, align_corners=False).clamp(0, 1)
        if self.crop is not None:
            top, left = (round((side - edge) / 2) for side, edge in zip(size, self.crop, strict=True))
            frames = frames[..., top : top + self.crop[0], left : left + self.crop[1]]
        mean, std = (frames.new_tensor(values)[:, None, None] for values in (self.mean, self.std))
        return (frames - mean) / std
