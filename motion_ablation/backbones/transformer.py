"""What the video transformers have in common: blocks over one joint sequence, an autoencoder of whole clips, a large text encoder."""

from __future__ import annotations

import gc
import json
from abc import abstractmethod
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import torch
from einops import rearrange
from torch import Tensor
from transformers import AutoTokenizer

from motion_ablation.backbones.base import Backbone, Posterior
from motion_ablation.backbones.diffusion.base import Diffusion
from motion_ablation.backbones.folder import precision_of
from motion_ablation.records import Site
from motion_ablation.tokens import left_out
from motion_ablation.weights import find_folder, fingerprint

TEXT = ("text_encoder", "tokenizer")
PARTS = ("transformer", "vae", *TEXT, "scheduler")


class Shape(NamedTuple):
    """What a model's configuration says of its sizes.

    Attributes:
        layers: blocks. width: channels of a block's features. skip: tokens of text before those of the video.
        channels: of the latents. time, space: how many frames, and pixels of a side, become one latent.
        period: the model takes ``period * k + 1`` frames. patch: latents of a side that become one token.
    """

    layers: int
    width: int
    skip: int
    channels: int
    time: int
    space: int
    period: int
    patch: int

    def latents(self, frames: int, height: int, width: int) -> tuple[int, int, int, int]:
        """``(c, f, h, w)`` of a clip's latents. Raises ``ValueError`` for a length or a size that the model cannot take."""
        step = self.space * self.patch
        if height % step or width % step:
            raise ValueError(f"frames of {height}x{width} pixels do not suit this backbone: height and width must be multiples of {step}")
        if (frames - 1) % self.period:
            below = (frames - 1) // self.period * self.period + 1
            raise ValueError(
                f"data.frames {frames} does not suit this backbone, which takes {self.period} k + 1 frames: "
                f"the nearest are {below} and {below + self.period}"
            )
        return self.channels, (frames - 1) // self.time + 1, height // self.space, width // self.space


class TransformerBackbone(Backbone):
    """A video transformer in diffusers' folder layout. Its text encoder is there only while texts are encoded, on the CPU.

    Args:
        source: a diffusers folder, or a hub id.
        dtype: ``float32``, ``float16`` or ``bfloat16``. gradient_checkpointing: recompute every block in the backward pass.
        vae_slicing: encode and decode video by video; vae_tiling: in overlapping tiles, which shows a little; vae_offload: on the device
            only while it works.

    Attributes:
        autoencoder, encoder: the classes of its parts beside the network. blocks: module path of the network's blocks. example: a hub id.
        vae_precision: of the autoencoder; None is that of the network.
    """

    stages = ("blocks",)
    autoencoder: ClassVar[Any]
    encoder: ClassVar[Any]
    blocks: ClassVar[str]
    example: ClassVar[str]
    vae_precision: ClassVar[torch.dtype | None] = None
    latents_mean: Tensor
    latents_std: Tensor

    def __init__(
        self, source: str, dtype: str = "float32", gradient_checkpointing: bool = False,
        vae_slicing: bool = False, vae_tiling: bool = False, vae_offload: bool = False,
    ) -> None:  # fmt: skip
        super().__init__()
        self.folder, self.precision, options = self.find(source), precision_of(dtype), {"local_files_only": True}
        self.shape = self.shape_in(self.folder)
        self.diffusion = self.schedule(self.folder / "scheduler")
        self.denoiser: Any = self.network.from_pretrained(self.folder / "transformer", torch_dtype=self.precision, **options)
        self.vae: Any = self.autoencoder.from_pretrained(self.folder / "vae", torch_dtype=self.vae_precision or self.precision, **options)
        self.tokenizer = AutoTokenizer.from_pretrained(self.folder / "tokenizer", **options)
        mean, std = self.statistics(dict(self.vae.config))
        self.register_buffer("latents_mean", mean.reshape(1, -1, 1, 1, 1), persistent=False)
        self.register_buffer("latents_std", std.reshape(1, -1, 1, 1, 1), persistent=False)
        self.vae_offload, self.recomputes = vae_offload, gradient_checkpointing
        if gradient_checkpointing:
            self.denoiser.enable_gradient_checkpointing()
        if vae_slicing:
            self.vae.enable_slicing()
        if vae_tiling:
            self.vae.enable_tiling()
        suffix = ("" if dtype == "float32" else f"-{dtype}") + ("-tiled" if vae_tiling else "")
        self.fingerprint = fingerprint(self.folder, PARTS) + suffix
        self.text_fingerprint = f"{fingerprint(self.folder, TEXT)}-{dtype}"
        self._features: dict[str, Tensor] = {}
        self.requires_grad_(False).eval()

    # What a model says of itself.

    @staticmethod
    @abstractmethod
    def describe(network: dict[str, Any], vae: dict[str, Any]) -> Shape:
        """Sizes, from the configurations of the parts. Raises ``ValueError`` for a model of another kind."""

    @staticmethod
    @abstractmethod
    def statistics(vae: dict[str, Any]) -> tuple[Tensor, Tensor]:
        """What is taken from the autoencoder's latents, and what they are divided by, ``(1 or c,)``."""

    @abstractmethod
    def schedule(self, folder: Path) -> Diffusion:
        """The noise schedule of a checkpoint's ``scheduler`` folder."""

    @abstractmethod
    def features(self, encoder: Any, text: str) -> Tensor:
        """Token features of one text, ``(1, n, d)``."""

    @property
    @abstractmethod
    def text_length(self) -> int:
        """Tokens of a text, padding included."""

    @classmethod
    def find(cls, source: str) -> Path:
        """The local folder. Raises :class:`~motion_ablation.weights.MissingWeights` in one line."""
        return find_folder(source, PARTS, "diffusers folder", "model.backbone.source", cls.example)

    @classmethod
    def shape_in(cls, folder: Path) -> Shape:
        """Sizes, from a folder's configuration files alone. Raises ``ValueError`` for a model of another kind."""
        if (folder / "transformer_2").is_dir():
            raise ValueError(f"{folder} holds two networks for two ranges of noise; only models of one network can be used")
        network, vae = (json.loads((folder / part / "config.json").read_text(encoding="utf-8")) for part in ("transformer", "vae"))
        return cls.describe(network, vae)

    @classmethod
    def probe(cls, shape: Shape, latents: tuple[int, int, int, int]) -> list[Site]:
        """Every block, as latents ``(c, f, h, w)`` show it."""
        grid = latents[1], latents[2] // shape.patch, latents[3] // shape.patch
        return [
            Site(f"{cls.blocks}.{index}", "blocks", shape.width, *grid, ("attn1",), "joint", shape.skip) for index in range(shape.layers)
        ]

    def sites(self, frames: int, height: int, width: int) -> list[Site]:
        return self.probe(self.shape, self.latent_shape(frames, height, width))

    @classmethod
    def sites_of(cls, source: str, frames: int, height: int, width: int, **options: Any) -> list[Site]:
        shape = cls.shape_in(cls.find(source))
        return cls.probe(shape, shape.latents(frames, height, width))

    @classmethod
    def sites_in(cls, pipe: Any, latents: tuple[int, ...]) -> list[Site]:
        if getattr(pipe, "transformer_2", None) is not None:
            raise ValueError("this pipeline holds two networks for two ranges of noise; only models of one network can be used")
        return cls.probe(cls.describe(dict(pipe.transformer.config), dict(pipe.vae.config)), latents)  # type: ignore[arg-type]

    def latent_shape(self, frames: int, height: int, width: int) -> tuple[int, int, int, int]:
        return self.shape.latents(frames, height, width)

    # At work.

    def train(self, mode: bool = True) -> TransformerBackbone:
        """A frozen model stays in evaluation mode."""
        return super().train(False)

    @property
    def dtype(self) -> torch.dtype:
        """Precision of the network, by a projection: some of its first parameters may stay in float32."""
        weight: Tensor = self.denoiser.get_submodule(f"{self.blocks}.0.attn1.to_q").weight
        return weight.dtype

    @torch.no_grad()
    def encode(self, frames: Tensor) -> Posterior:
        pixels = rearrange(frames * 2 - 1, "f c h w -> 1 c f h w")
        with self._autoencoder() as vae:
            posterior = vae.encode(pixels.to(vae.device, vae.dtype)).latent_dist
        return Posterior((posterior.mean.float() - self.latents_mean) / self.latents_std, posterior.std.float() / self.latents_std)

    @torch.no_grad()
    def decode(self, latents: Tensor) -> Tensor:
        with self._autoencoder() as vae:
            videos = vae.decode((latents * self.latents_std + self.latents_mean).to(vae.dtype)).sample
        return rearrange(videos.float().add(1).div(2).clamp(0, 1), "b c f h w -> b f c h w")

    @torch.no_grad()
    def embed(self, texts: list[str]) -> Tensor:
        """Token features ``(b, n, d)``; the encoder is loaded for texts that are new, and let go before this returns."""
        new = [text for text in dict.fromkeys(texts) if text not in self._features]
        if new:
            encoder = self.encoder.from_pretrained(self.folder / "text_encoder", dtype=self.precision, local_files_only=True).eval()
            self._features |= {text: self.features(encoder, text) for text in new}
            del encoder
            gc.collect()
        return torch.cat([self._features[text] for text in texts]).to(self.device)

    def left_out(self, texts: Iterable[str]) -> dict[str, str]:
        return left_out(self.tokenizer, texts, self.text_length, "the backbone's text encoder")

    @contextmanager
    def _autoencoder(self) -> Iterator[Any]:
        """The autoencoder on the network's device, and off it again if it is to be."""
        self.vae.to(self.device)
        try:
            yield self.vae
        finally:
            if self.vae_offload:
                self.vae.to("cpu")
