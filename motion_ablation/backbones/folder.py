"""What the backbones have in common that are diffusers folders: finding them, their autoencoder, their text encoder."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL
from einops import rearrange
from torch import Tensor, nn
from transformers import CLIPTextModel, CLIPTokenizer

from motion_ablation.backbones.base import Backbone, Posterior
from motion_ablation.backbones.diffusion.base import Diffusion
from motion_ablation.records import Site
from motion_ablation.tokens import left_out
from motion_ablation.weights import find_folder, fingerprint

PARTS = ("unet", "vae", "text_encoder", "tokenizer", "scheduler")


def find_checkpoint(source: str) -> Path:
    """The local folder of a text-to-video or image model; see :func:`~motion_ablation.weights.find_folder`."""
    return find_folder(source, PARTS, "diffusers folder", "model.backbone.source", "cerspense/zeroscope_v2_576w", builtin="shapes")


def latent_shape(
    unet_config: dict[str, Any], vae_config: dict[str, Any], frames: int, height: int, width: int
) -> tuple[int, int, int, int]:
    """``(c, f, h, w)`` of a clip's latents. Raises ``ValueError`` if the frame cannot be halved often enough."""
    down = 2 ** (len(vae_config["block_out_channels"]) - 1)
    step = down * 2 ** (len(unet_config["block_out_channels"]) - 1)
    if height % step or width % step:
        raise ValueError(f"frames of {height}x{width} pixels do not suit this backbone: height and width must be multiples of {step}")
    return int(unet_config["in_channels"]), frames, height // down, width // down


def find_sites(
    denoiser: nn.Module, parts: dict[str, Any], kind: type[nn.Module], latents: tuple[int, int, int, int], text: tuple[int, int, int]
) -> list[Site]:
    """Temporal transformer blocks of ``denoiser`` and the grids they see, by one forward pass on the meta device.

    Args:
        denoiser: on the meta device. parts: its stages by name; None for one that it lacks.
        kind: class of its temporal transformers, whose input ends in ``(h, w)``. latents: ``(c, f, h, w)``.
        text: shape of the text features that the network takes.
    """
    sites: list[Site] = []
    stages = {id(module): stage for stage, part in parts.items() if part is not None for module in part.modules()}

    def record(name: str, module: Any, inputs: tuple[Tensor, ...]) -> None:
        height, width = inputs[0].shape[-2:]
        for index, block in enumerate(module.transformer_blocks):
            channels = block.attn1.to_q.in_features
            attentions = tuple(a for a in ("attn1", "attn2") if getattr(block, a, None) is not None)
            sites.append(Site(f"{name}.transformer_blocks.{index}", stages[id(module)], channels, latents[1], height, width, attentions))

    hooks = [
        module.register_forward_pre_hook(partial(lambda name, module, inputs: record(name, module, inputs), name))
        for name, module in denoiser.named_modules()
        if isinstance(module, kind)
    ]
    try:
        with torch.no_grad():
            denoiser(torch.empty(1, *latents, device="meta"), 0, torch.empty(text, device="meta"))
    finally:
        for hook in hooks:
            hook.remove()
    return sites


def precision_of(dtype: str) -> torch.dtype:
    """A precision by its name. Raises ``ValueError`` listing the choices."""
    choices = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}
    if dtype not in choices:
        raise ValueError(f"dtype '{dtype}' is not one of {', '.join(choices)}")
    return choices[dtype]


class FolderBackbone(Backbone):
    """A denoiser beside an autoencoder of frames, CLIP's text encoder and a noise schedule, all from one diffusers folder.

    Args:
        folder: see :func:`find_checkpoint`. denoiser: the network. dtype: name of the precision. vae_slicing: see the subclasses.
        diffusion: its noise schedule.
    """

    def __init__(self, folder: Path, denoiser: nn.Module, dtype: str, vae_slicing: bool, diffusion: Diffusion) -> None:
        super().__init__()
        precision: Any = precision_of(dtype)
        options: dict[str, Any] = {"local_files_only": True}
        self.denoiser: Any = denoiser
        self.vae: Any = AutoencoderKL.from_pretrained(folder / "vae", torch_dtype=precision, **options)
        self.text_encoder: Any = CLIPTextModel.from_pretrained(folder / "text_encoder", dtype=precision, **options)
        self.tokenizer = CLIPTokenizer.from_pretrained(folder / "tokenizer", **options)
        self.diffusion = diffusion
        weights = fingerprint(folder, PARTS)
        self.fingerprint = weights if dtype == "float32" else f"{weights}-{dtype}"
        self._sites: dict[tuple[int, int, int, int], list[Site]] = {}
        if vae_slicing:
            self.vae.enable_slicing()
        self.requires_grad_(False).eval()

    @staticmethod
    @abstractmethod
    def probe(config: Any, latents: tuple[int, int, int, int]) -> list[Site]:
        """Sites of a denoiser with this configuration, without its weights."""

    @classmethod
    def sites_in(cls, pipe: Any, latents: tuple[int, ...]) -> list[Site]:
        return cls.probe(pipe.unet.config, latents)  # type: ignore[arg-type]

    def train(self, mode: bool = True) -> FolderBackbone:
        """A frozen model stays in evaluation mode."""
        return super().train(False)

    @property
    def dtype(self) -> torch.dtype:
        """Precision of the denoiser, by its first weight: diffusers' own property goes through all of them, 2 ms a time."""
        first: Tensor = next(self.denoiser.parameters())
        return first.dtype

    @torch.no_grad()
    def encode(self, frames: Tensor) -> Posterior:
        pixels = (frames * 2 - 1).to(self.vae.device, self.vae.dtype)
        posterior = self.vae.encode(pixels).latent_dist
        scale = self.vae.config.scaling_factor
        mean, std = (rearrange(x.float() * scale, "f c h w -> 1 c f h w") for x in (posterior.mean, posterior.std))
        return Posterior(mean, std)

    @torch.no_grad()
    def decode(self, latents: Tensor) -> Tensor:
        flat = rearrange(latents, "b c f h w -> (b f) c h w").to(self.vae.dtype) / self.vae.config.scaling_factor
        frames = self.vae.decode(flat).sample.float().add(1).div(2).clamp(0, 1)
        return rearrange(frames, "(b f) c h w -> b f c h w", b=len(latents))

    @torch.no_grad()
    def embed(self, texts: list[str]) -> Tensor:
        tokens = self.tokenizer(texts, padding="max_length", max_length=self._text_length, truncation=True, return_tensors="pt")
        return self.text_encoder(tokens.input_ids.to(self.text_encoder.device)).last_hidden_state

    def left_out(self, texts: Iterable[str]) -> dict[str, str]:
        return left_out(self.tokenizer, texts, self._text_length, "the backbone's text encoder")

    @property
    def _text_length(self) -> int:
        return min(self.tokenizer.model_max_length, int(self.text_encoder.config.max_position_embeddings))

    def denoise(self, latents: Tensor, timestep: Tensor, text: Tensor) -> Tensor:
        kind = self.dtype
        return self.denoiser(latents.to(kind), timestep, text.to(kind)).sample.to(latents.dtype)

    def latent_shape(self, frames: int, height: int, width: int) -> tuple[int, int, int, int]:
        return latent_shape(dict(self.denoiser.config), dict(self.vae.config), frames, height, width)

    def sites(self, frames: int, height: int, width: int) -> list[Site]:
        latents = self.latent_shape(frames, height, width)
        if latents not in self._sites:
            self._sites[latents] = self.probe(self.denoiser.config, latents)
        return self._sites[latents]
