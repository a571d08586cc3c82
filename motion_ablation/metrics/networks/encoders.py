"""Networks that turn frames and texts into vectors; injected into the metrics, shared by them, and run once per video."""

from __future__ import annotations

from collections import OrderedDict
from functools import cache
from pathlib import Path
from typing import Any, Protocol
from weakref import WeakKeyDictionary

import torch
import torch.nn.functional as F
from torch import Tensor

from motion_ablation.metrics.memo import once_per_video
from motion_ablation.metrics.networks.inception import load_inception, weights_file
from motion_ablation.metrics.networks.preprocessing import BATCH, Preprocessing
from motion_ablation.tokens import left_out
from motion_ablation.weights import HOME, TENSORS, MissingWeights, find_folder

CLIP_FILES = ("config.json", "preprocessor_config.json", "tokenizer_config.json", TENSORS)


class ImageEncoder(Protocol):
    """A frozen network over frames.

    Attributes:
        name: which network. resize: how frames are brought to its size. dimension: ``d``.
    """

    name: str

    @property
    def resize(self) -> str: ...

    @property
    def dimension(self) -> int: ...

    def images(self, frames: Tensor) -> Tensor:
        """``(n, 3, h, w)`` float in ``[0, 1]`` to ``(n, d)``."""
        ...


class ImageTextEncoder(ImageEncoder, Protocol):
    """A frozen network that puts frames and texts into one space; all vectors have length one."""

    def texts(self, texts: list[str]) -> Tensor:
        """``m`` texts to ``(m, d)``."""
        ...


class ClipEncoder:
    """A CLIP model from a folder written by ``save_pretrained`` or from the hub's local cache; loaded at first use, frozen.

    Args:
        source: ``shapes`` (the package's own), a folder, or a repository such as ``openai/clip-vit-base-patch32``. Image size, mean and
            standard deviation come from its ``preprocessor_config.json``.

    Attributes:
        left_out: the ends of texts that were too long for the network, by text.

    Raises:
        MissingWeights: at first use, where the weights are not on this machine.
    """

    def __init__(self, source: str | Path = "shapes") -> None:
        self.name = f"CLIP {source}"
        self.source = str(source)
        self._loaded: tuple[Any, Any, Preprocessing] | None = None
        self.left_out: dict[str, str] = {}

    def __reduce__(self) -> tuple[Any, ...]:
        return load_encoder, (self.source,)

    def _load(self, device: torch.device | None = None) -> tuple[Any, Any, Preprocessing]:
        if self._loaded is None:
            from transformers import AutoTokenizer, CLIPModel

            folder = clip_folder(self.source)
            network: Any = CLIPModel.from_pretrained(folder, local_files_only=True)
            tokenizer: Any = AutoTokenizer.from_pretrained(folder, local_files_only=True)
            self._loaded = network.eval().requires_grad_(False), tokenizer, Preprocessing.read(folder)
        if device is not None:
            self._loaded[0].to(device)
        return self._loaded

    @property
    def resize(self) -> str:
        """How frames are brought to the network; without numbers where its folder is not to be had."""
        try:
            return str(self._loaded[2] if self._loaded else Preprocessing.read(clip_folder(self.source)))
        except MissingWeights:
            return "short side to the network's size, antialiased bicubic, centre crop"

    @property
    def dimension(self) -> int:
        return int(self._load()[0].config.projection_dim)

    @torch.no_grad()
    def images(self, frames: Tensor) -> Tensor:
        """``(n, 3, h, w)`` float in ``[0, 1]`` to unit vectors ``(n, d)``, on the frames' device."""
        network, _, preprocessing = self._load(frames.device)
        parts = [
            network.visual_projection(network.vision_model(pixel_values=preprocessing(part)).pooler_output) for part in frames.split(BATCH)
        ]
        return F.normalize(torch.cat(parts).float(), dim=-1)

    @torch.no_grad()
    def texts(self, texts: list[str]) -> Tensor:
        """``m`` texts, cut at the network's length, to unit vectors ``(m, d)``, on the network's device."""
        network, tokenizer, _ = self._load()
        length = network.config.text_config.max_position_embeddings
        self.left_out |= left_out(tokenizer, texts, length, self.name)
        tokens = tokenizer(texts, padding=True, truncation=True, max_length=length, return_tensors="pt").to(network.device)
        hidden = network.text_model(input_ids=tokens["input_ids"], attention_mask=tokens["attention_mask"])
        return F.normalize(network.text_projection(hidden.pooler_output).float(), dim=-1)


@cache
def load_encoder(source: str) -> ClipEncoder:
    """The CLIP encoder of a source, one object per source, so that all metrics share one network."""
    return ClipEncoder(source)


@cache
def load_features(name: str) -> ImageEncoder:
    """The image network called ``inception``, ``inception:PATH``, or by a source of :class:`ClipEncoder`; one object per name."""
    kind, _, path = name.partition(":")
    if kind == "inception":
        return load_inception(weights_file(path or HOME))
    return load_encoder(name)


_memos: WeakKeyDictionary[Any, OrderedDict[Any, Tensor]] = WeakKeyDictionary()


def embed_videos(encoder: ImageEncoder, frames: Tensor) -> Tensor:
    """Image embeddings of videos; each encoder remembers its latest videos by their content, so that metrics share the work.

    Args:
        frames: ``(b, f, 3, h, w)`` float32 in ``[0, 1]``.

    Returns:
        ``(b, f, d)``, on the frames' device.
    """
    memo = _memos.setdefault(encoder, OrderedDict())
    embedded = once_per_video(memo, frames, lambda videos: list(encoder.images(videos.flatten(0, 1)).unflatten(0, videos.shape[:2])))
    return torch.stack([video.to(frames.device) for video in embedded])


def clip_folder(source: str) -> Path:
    """The local folder of a :class:`ClipEncoder` source. Raises :class:`MissingWeights` where there is none."""
    return find_folder(source, CLIP_FILES, "CLIP folder", "the metric's encoder", "openai/clip-vit-base-patch32", builtin="shapes/clip")
