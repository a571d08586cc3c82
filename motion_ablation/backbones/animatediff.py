"""AnimateDiff: an image model with a motion adapter between its layers (``UNetMotionModel``)."""

from __future__ import annotations

from typing import Any

import torch
from diffusers import MotionAdapter, UNet2DConditionModel, UNetMotionModel
from diffusers.models.unets.unet_motion_model import AnimateDiffTransformer3D
from torch import Tensor

from motion_ablation.backbones.base import BACKBONES
from motion_ablation.backbones.checkpointing import blocks_of, recompute
from motion_ablation.backbones.diffusion.ddim import DDIM
from motion_ablation.backbones.folder import FolderBackbone, find_checkpoint, find_sites, precision_of
from motion_ablation.records import Site
from motion_ablation.weights import TENSORS, find_folder, fingerprint

# The schedule that the adapters were trained with.
SCHEDULE = {"beta_schedule": "linear", "clip_sample": False, "timestep_spacing": "leading", "steps_offset": 1}
# What image models of this family name instead, each a way to sample the same list of signal shares.
SAMPLERS = (
    "DDIMScheduler", "DDPMScheduler", "PNDMScheduler", "LMSDiscreteScheduler", "EulerDiscreteScheduler", "EulerAncestralDiscreteScheduler",
    "DPMSolverMultistepScheduler", "UniPCMultistepScheduler",
)  # fmt: skip


@BACKBONES.register("animatediff")
class AnimateDiffBackbone(FolderBackbone):
    """Stable Diffusion with an AnimateDiff motion adapter; its temporal blocks have sinusoidal positions, to which motion is added.

    Args:
        source: folder or hub id of the image model, such as ``stable-diffusion-v1-5/stable-diffusion-v1-5``.
        adapter: folder or hub id of the motion adapter, such as ``guoyww/animatediff-motion-adapter-v1-5-3``.
        dtype: ``float32``, ``float16`` or ``bfloat16``. vae_slicing: encode and decode frame by frame to save memory.
        gradient_checkpointing: run the blocks of layers again in the backward pass, for less memory and more time.

    Attributes:
        recomputed: names of the denoiser's lists of blocks, which gradient checkpointing runs again.
    """

    network = UNetMotionModel
    stages = ("down", "mid", "up")
    recomputed = ("resnets", "attentions", "motion_modules")

    def __init__(
        self, source: str, adapter: str, dtype: str = "float32", vae_slicing: bool = False, gradient_checkpointing: bool = False
    ) -> None:
        folder, precision = find_checkpoint(source), precision_of(dtype)
        motion_folder = find_folder(
            adapter,
            ("config.json", TENSORS),
            "motion adapter's folder",
            "model.backbone.options.adapter",
            "guoyww/animatediff-motion-adapter-v1-5-3",
        )
        options: dict[str, Any] = {"torch_dtype": precision, "local_files_only": True}
        image = UNet2DConditionModel.from_pretrained(folder / "unet", **options)
        motion = MotionAdapter.from_pretrained(motion_folder, **options)
        denoiser = UNetMotionModel.from_unet2d(image, motion)
        if gradient_checkpointing:
            recompute(blocks_of(denoiser, self.recomputed))
        super().__init__(folder, denoiser, dtype, vae_slicing, DDIM.read(folder / "scheduler", SAMPLERS, **SCHEDULE))
        self.recomputes = gradient_checkpointing
        self.fingerprint = f"{self.fingerprint}-{fingerprint(motion_folder)}"
        self.positions = int(motion.config["motion_max_seq_length"])

    def latent_shape(self, frames: int, height: int, width: int) -> tuple[int, int, int, int]:
        if frames > self.positions:
            raise ValueError(f"data.frames {frames} is more than this motion adapter takes ({self.positions})")
        return super().latent_shape(frames, height, width)

    def denoise(self, latents: Tensor, timestep: Tensor, text: Tensor) -> Tensor:
        # This network attends to text frame by frame.
        return super().denoise(latents, timestep, text.repeat_interleave(latents.shape[2], 0))

    @staticmethod
    def probe(config: Any, latents: tuple[int, int, int, int]) -> list[Site]:
        with torch.device("meta"):
            unet = UNetMotionModel.from_config(config)
        parts = {"down": unet.down_blocks, "mid": unet.mid_block, "up": unet.up_blocks}
        return find_sites(unet, parts, AnimateDiffTransformer3D, latents, (latents[1], 2, config["cross_attention_dim"]))
