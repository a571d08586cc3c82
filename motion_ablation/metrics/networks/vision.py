"""Vision transformers without texts, such as DINO (Caron et al. 2021), through transformers."""

from __future__ import annotations

import inspect
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from motion_ablation.metrics.networks.preprocessing import BATCH, Preprocessing
from motion_ablation.weights import TENSORS, MissingWeights, find_folder

DINO = "facebook/dino-vitb16"
FILES = ("config.json", "preprocessor_config.json", TENSORS)


class VisionEncoder:
    """The class token of a vision transformer, from a folder of ``save_pretrained`` or the hub's local cache; loaded at first use, frozen.

    Frames keep their aspect ratio and are not cropped, as in VBench: position embeddings are interpolated where the network can.

    Args:
        source: a folder, or a repository such as ``facebook/dino-vitb16``. Image size, mean and standard deviation come from its
            ``preprocessor_config.json``.

    Raises:
        MissingWeights: at first use, where the weights are not on this machine; one line says what to fetch.
    """

    def __init__(self, source: str | Path = DINO) -> None:
        self.name = f"ViT {source}"
        self.source = str(source)
        self._loaded: tuple[Any, Preprocessing] | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        return load_vision, (self.source,)

    def _load(self) -> tuple[Any, Preprocessing]:
        if self._loaded is None:
            from transformers import AutoModel, logging

            folder = vision_folder(self.source)
            said = logging.get_verbosity()
            logging.set_verbosity_error()  # it reports a pooling layer that DINO does not have, and that is not read here
            try:
                network: Any = AutoModel.from_pretrained(folder, local_files_only=True)
            finally:
                logging.set_verbosity(said)
            self._loaded = network.eval().requires_grad_(False), Preprocessing.read(folder, crop=False)
        return self._loaded

    @property
    def resize(self) -> str:
        """How frames are brought to the network; without numbers where its folder is not to be had."""
        try:
            folder = vision_folder(self.source)
            return str(self._loaded[1] if self._loaded else Preprocessing.read(folder, crop=False))
        except MissingWeights:
            return "short side to the network's size, antialiased bicubic, no crop"

    @property
    def dimension(self) -> int:
        return int(self._load()[0].config.hidden_size)

    @torch.no_grad()
    def images(self, frames: Tensor) -> Tensor:
        """``(n, 3, h, w)`` float in ``[0, 1]`` to class tokens ``(n, d)``, not of length one, on the frames' device."""
        network, preprocessing = self._load()
        network.to(frames.device)
        takes = inspect.signature(network.forward).parameters
        options = {"interpolate_pos_encoding": True} if "interpolate_pos_encoding" in takes else {}
        parts = [network(pixel_values=preprocessing(part), **options).last_hidden_state[:, 0] for part in frames.split(BATCH)]
        return torch.cat(parts).float()


def vision_folder(source: str) -> Path:
    """The local folder of a :class:`VisionEncoder` source. Raises :class:`MissingWeights` where there is none."""
    return find_folder(source, FILES, "vision transformer's folder", "the metric's features", DINO)


@cache
def load_vision(source: str) -> VisionEncoder:
    """The encoder of a source, one object per source, so that all metrics share one network."""
    return VisionEncoder(source)
