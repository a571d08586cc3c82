"""The network of FID: InceptionV3 as clean-fid runs it (Parmar et al. 2022)."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from motion_ablation.metrics.networks.preprocessing import BATCH
from motion_ablation.weights import HOME, find_file

INCEPTION_FILE = "inception-2015-12-05.pt"
INCEPTION_URL = f"https://nvlabs-fi-cdn.nvidia.com/stylegan2-ada-pytorch/pretrained/metrics/{INCEPTION_FILE}"


class InceptionFeatures:
    """clean-fid's InceptionV3 (2,048 features, unnormalised) behind clean-fid's resize; loaded at first use from a local file.

    Frames are rounded to 8 bits first, as clean-fid sees them in image files.

    Args:
        path: the weights file ``inception-2015-12-05.pt`` or the folder that holds it.

    Raises:
        MissingWeights: at first use, where the file is not there.
    """

    resize = "clean-fid 'clean': to 299x299, PIL bicubic, antialiased, not quantised"
    dimension = 2048

    def __init__(self, path: str | Path = HOME) -> None:
        self.name = "InceptionV3 (clean-fid)"
        self.path = weights_file(path)
        self._loaded: tuple[Any, Callable[[Any], Any]] | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        return load_inception, (self.path,)

    def _load(self) -> tuple[Any, Callable[[Any], Any]]:
        if self._loaded is None:
            file = find_inception(self.path)
            from cleanfid.inception_torchscript import InceptionV3W
            from cleanfid.resize import build_resizer

            network = InceptionV3W(str(file.parent), download=False, resize_inside=False).eval().requires_grad_(False)
            self._loaded = network, build_resizer("clean")
        return self._loaded

    @torch.no_grad()
    def images(self, frames: Tensor) -> Tensor:
        """``(n, 3, h, w)`` float in ``[0, 1]`` to ``(n, 2048)``, on the frames' device."""
        network, resize = self._load()
        network.to(frames.device)
        pixels = (frames * 255).round().byte().permute(0, 2, 3, 1).cpu().numpy()
        parts = []
        for start in range(0, len(pixels), BATCH):
            resized = [torch.from_numpy(resize(image)).permute(2, 0, 1) for image in pixels[start : start + BATCH]]
            parts.append(network(torch.stack(resized).to(frames.device)).float())
        return torch.cat(parts)


def weights_file(path: str | Path) -> Path:
    """The weights file that a path names, itself or in a folder."""
    path = Path(path).expanduser()
    return path if path.suffix == ".pt" else path / INCEPTION_FILE


def find_inception(path: Path) -> Path:
    """The weights file in the folder of ``path``, where clean-fid looks for it by its own name. Raises :class:`MissingWeights`."""
    fetch = f"curl --create-dirs -o {{file}} {INCEPTION_URL}"
    return find_file([INCEPTION_FILE], "the weights of clean-fid's Inception", fetch, given=path.parent)


@cache
def load_inception(path: Path) -> InceptionFeatures:
    """The network of a weights file, one object per file, so that all metrics share one network."""
    return InceptionFeatures(path)
