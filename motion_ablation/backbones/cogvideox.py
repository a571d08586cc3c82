"""CogVideoX 2B and 5B: a diffusion transformer (``CogVideoXTransformer3DModel``) with T5 text in the same sequence."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKLCogVideoX, CogVideoXTransformer3DModel
from diffusers.models.embeddings import get_3d_rotary_pos_embed
from diffusers.pipelines.cogvideo.pipeline_cogvideox import get_resize_crop_region_for_grid
from einops import rearrange
from torch import Tensor
from transformers import T5EncoderModel

from motion_ablation.backbones.base import BACKBONES
from motion_ablation.backbones.diffusion.cogvideox import CogVideoXDDIM
from motion_ablation.backbones.transformer import Shape, TransformerBackbone
from motion_ablation.records import Site


@BACKBONES.register("cogvideox")
class CogVideoXBackbone(TransformerBackbone):
    """CogVideoX text-to-video: text and video tokens attend to each other in one sequence, the text first.

    Args:
        source: a diffusers folder, or a hub id such as ``THUDM/CogVideoX-2b``.
        dtype, gradient_checkpointing, vae_slicing, vae_tiling, vae_offload: see :class:`TransformerBackbone`.
    """

    network, autoencoder, encoder = CogVideoXTransformer3DModel, AutoencoderKLCogVideoX, T5EncoderModel
    blocks, example = "transformer_blocks", "THUDM/CogVideoX-2b"

    @staticmethod
    def describe(network: dict[str, Any], vae: dict[str, Any]) -> Shape:
        time, space = int(vae["temporal_compression_ratio"]), 2 ** (len(vae["block_out_channels"]) - 1)
        if network.get("patch_size_t"):
            raise ValueError("this is CogVideoX 1.5, whose tokens span several frames; only CogVideoX 2B and 5B can be used")
        if network["in_channels"] != vae["latent_channels"]:
            raise ValueError("this CogVideoX takes an image beside the text; only text-to-video models can be used")
        width = network["num_attention_heads"] * network["attention_head_dim"]
        skip, patch = network["max_text_seq_length"], network["patch_size"]
        # The decoder works on pairs of latent frames after a first one, so that their number is odd.
        return Shape(network["num_layers"], width, skip, vae["latent_channels"], time, space, 2 * time, patch)

    @staticmethod
    def statistics(vae: dict[str, Any]) -> tuple[Tensor, Tensor]:
        return torch.zeros(1), torch.tensor([1 / vae["scaling_factor"]])

    def schedule(self, folder: Path) -> CogVideoXDDIM:
        return CogVideoXDDIM.read(folder)

    @classmethod
    def sites_in(cls, pipe: Any, latents: tuple[int, ...]) -> list[Site]:
        frames, channels, height, width = latents
        return super().sites_in(pipe, (channels, frames, height, width))

    @property
    def text_length(self) -> int:
        return self.shape.skip

    def features(self, encoder: Any, text: str) -> Tensor:
        """Features of the text's tokens and of the padding after them."""
        tokens = self.tokenizer(text, padding="max_length", max_length=self.text_length, truncation=True, return_tensors="pt")
        found: Tensor = encoder(tokens.input_ids).last_hidden_state
        return found

    def denoise(self, latents: Tensor, timestep: Tensor, text: Tensor) -> Tensor:
        kind, told = self.dtype, timestep.to(latents.device).reshape(-1).expand(len(latents))
        frames = rearrange(latents, "b c f h w -> b f c h w").to(kind)
        predicted: Tensor = self.denoiser(frames, text.to(kind), told, image_rotary_emb=self._rotary(latents)).sample
        return rearrange(predicted.to(latents.dtype), "b f c h w -> b c f h w")

    def _rotary(self, latents: Tensor) -> Any:
        """Cosines and sines of the video's positions, resized as those of training were; None where the network adds its own."""
        config = self.denoiser.config
        if not config.use_rotary_positional_embeddings:
            return None
        frames, height, width = latents.shape[2], latents.shape[3] // config.patch_size, latents.shape[4] // config.patch_size
        crop = get_resize_crop_region_for_grid(
            (height, width), config.sample_width // config.patch_size, config.sample_height // config.patch_size
        )
        return get_3d_rotary_pos_embed(config.attention_head_dim, crop, (height, width), frames, device=latents.device)
