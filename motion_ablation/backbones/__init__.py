"""Frozen video diffusion models, one class of model per file."""

from motion_ablation.backbones.animatediff import AnimateDiffBackbone
from motion_ablation.backbones.base import BACKBONES, Backbone, Posterior
from motion_ablation.backbones.cogvideox import CogVideoXBackbone
from motion_ablation.backbones.load import BackboneConfig, load_backbone
from motion_ablation.backbones.unet3d import UNet3DBackbone
from motion_ablation.backbones.wan import WanBackbone

__all__ = [
    "BACKBONES",
    "AnimateDiffBackbone",
    "Backbone",
    "BackboneConfig",
    "CogVideoXBackbone",
    "Posterior",
    "UNet3DBackbone",
    "WanBackbone",
    "load_backbone",
]
