"""Frozen video diffusion models, one class of model per file."""

from motion_ablation.backbones.animatediff import AnimateDiffBackbone
from motion_ablation.backbones.base import BACKBONES, Backbone, Posterior
from motion_ablation.backbones.load import BackboneConfig, load_backbone
from motion_ablation.backbones.unet3d import UNet3DBackbone

__all__ = ["BACKBONES", "AnimateDiffBackbone", "Backbone", "BackboneConfig", "Posterior", "UNet3DBackbone", "load_backbone"]
