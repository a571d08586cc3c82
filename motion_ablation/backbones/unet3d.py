"""Backbones in diffusers' text-to-video folder layout around ``UNet3DConditionModel``: ZeroScope, ModelScope, ``shapes``."""

from __future__ import annotations

import json
from typing import Any

import torch
from diffusers import UNet3DConditionModel
from diffusers.models.transformers.transformer_temporal import TransformerTemporalModel

from motion_ablation.backbones.base import BACKBONES
from motion_ablation.backbones.checkpointing import blocks_of, recompute
from motion_ablation.backbones.diffusion.ddim import DDIM
from motion_ablation.backbones.folder import FolderBackbone, find_checkpoint, find_sites, latent_shape, precision_of
from motion_ablation.backbones.frame_convolution import convolve_frames_flat
from motion_ablation.records import Site


@BACKBONES.register("unet3d")
class UNet3DBackbone(FolderBackbone):
    """diffusers' text-to-video models: a 3-D U-Net with temporal attentions, a frame autoencoder, CLIP text.

    Args:
        source: ``shapes`` (built in), a diffusers folder, or a hub id such as ``cerspense/zeroscope_v2_576w``.
        dtype: ``float32``, ``float16`` or ``bfloat16``. vae_slicing: encode and decode frame by frame to save memory.
        gradient_checkpointing: run the blocks of layers again in the backward pass, for less memory and more time.

    Attributes:
        recomputed: names of the denoiser's lists of blocks, which gradient checkpointing runs again.
    """

    network = UNet3DConditionModel
    stages = ("down", "mid", "up", "in")
    recomputed = ("resnets", "temp_convs", "attentions", "temp_attentions")

    def __init__(
        self, source: str = "shapes", dtype: str = "float32", vae_slicing: bool = False, gradient_checkpointing: bool = False
    ) -> None:
        folder, precision = find_checkpoint(source), precision_of(dtype)
        denoiser = UNet3DConditionModel.from_pretrained(folder / "unet", torch_dtype=precision, local_files_only=True)
        convolve_frames_flat(denoiser)
        if gradient_checkpointing:
            recompute(blocks_of(denoiser, self.recomputed))
        super().__init__(folder, denoiser, dtype, vae_slicing, DDIM.read(folder / "scheduler"))
        self.recomputes = gradient_checkpointing

    @staticmethod
    def probe(config: Any, latents: tuple[int, int, int, int]) -> list[Site]:
        with torch.device("meta"):
            unet = UNet3DConditionModel.from_config(config)
        parts = {"down": unet.down_blocks, "mid": unet.mid_block, "up": unet.up_blocks, "in": unet.transformer_in}
        return find_sites(unet, parts, TransformerTemporalModel, latents, (1, 2, config["cross_attention_dim"]))

    @classmethod
    def sites_of(cls, source: str, frames: int, height: int, width: int, **options: Any) -> list[Site]:
        folder = find_checkpoint(source)
        unet, vae = (json.loads((folder / part / "config.json").read_text(encoding="utf-8")) for part in ("unet", "vae"))
        return cls.probe(unet, latent_shape(unet, vae, frames, height, width))
