"""Wan 2.1: a rectified-flow transformer (``WanTransformer3DModel``) with UMT5 text."""

from __future__ import annotations

import html
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKLWan, WanTransformer3DModel
from torch import Tensor
from transformers import UMT5EncoderModel

from motion_ablation.backbones.base import BACKBONES
from motion_ablation.backbones.diffusion.flow import Flow
from motion_ablation.backbones.transformer import Shape, TransformerBackbone


@BACKBONES.register("wan")
class WanBackbone(TransformerBackbone):
    """Wan text-to-video: video tokens alone attend to each other, frame by frame, with rotary positions; text enters elsewhere.

    Args:
        source: a diffusers folder, or a hub id such as ``Wan-AI/Wan2.1-T2V-1.3B-Diffusers``.
        shift: of the timesteps that are drawn in training, towards noise; None is the checkpoint's own, by which videos are sampled.
        dtype, gradient_checkpointing, vae_slicing, vae_tiling, vae_offload: see :class:`TransformerBackbone`.
    """

    network, autoencoder, encoder = WanTransformer3DModel, AutoencoderKLWan, UMT5EncoderModel
    blocks, example = "blocks", "Wan-AI/Wan2.1-T2V-1.3B-Diffusers"
    vae_precision = torch.float32

    def __init__(
        self, source: str, shift: float | None = None, dtype: str = "float32", gradient_checkpointing: bool = False,
        vae_slicing: bool = False, vae_tiling: bool = False, vae_offload: bool = False,
    ) -> None:  # fmt: skip
        self.training_shift = shift
        super().__init__(source, dtype, gradient_checkpointing, vae_slicing, vae_tiling, vae_offload)

    @staticmethod
    def describe(network: dict[str, Any], vae: dict[str, Any]) -> Shape:
        time, space = vae.get("scale_factor_temporal", 4), vae.get("scale_factor_spatial", 8)
        if network["in_channels"] != vae["z_dim"] or network.get("image_dim"):
            raise ValueError("this Wan model takes an image beside the text; only text-to-video models can be used")
        ahead, patch, across = network["patch_size"]
        if ahead != 1 or patch != across:
            raise ValueError(f"this Wan model has patches of {network['patch_size']}, not of one frame and as high as wide")
        width = network["num_attention_heads"] * network["attention_head_dim"]
        return Shape(network["num_layers"], width, 0, vae["z_dim"], time, space, time, patch)

    @staticmethod
    def statistics(vae: dict[str, Any]) -> tuple[Tensor, Tensor]:
        return torch.tensor(vae["latents_mean"]), torch.tensor(vae["latents_std"])

    def schedule(self, folder: Path) -> Flow:
        return Flow.read(folder, self.training_shift)

    @property
    def text_length(self) -> int:
        return 512

    def features(self, encoder: Any, text: str) -> Tensor:
        """Features of the text's own tokens; the padding after them is zero."""
        plain = " ".join(html.unescape(html.unescape(text)).split())
        tokens = self.tokenizer(plain, padding="max_length", max_length=self.text_length, truncation=True, return_tensors="pt")
        found: Tensor = encoder(tokens.input_ids, tokens.attention_mask).last_hidden_state
        return found * tokens.attention_mask[..., None].to(found.dtype)

    def denoise(self, latents: Tensor, timestep: Tensor, text: Tensor) -> Tensor:
        kind, told = self.dtype, timestep.to(latents.device).reshape(-1).expand(len(latents))
        predicted: Tensor = self.denoiser(latents.to(kind), told, text.to(kind)).sample
        return predicted.to(latents.dtype)
