"""Tiny random models of every class of backbone."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import MotionAdapter, UNet2DConditionModel

from motion_ablation.backbones import BACKBONES

WIDTHS = (16, 32)


@pytest.fixture(scope="session")
def animatediff_folders(tiny_backbone: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """An image model beside the tiny autoencoder and text encoder, and a motion adapter."""
    root = tmp_path_factory.mktemp("animatediff")
    image, adapter = root / "image", root / "adapter"
    shutil.copytree(tiny_backbone, image)
    shutil.rmtree(image / "unet")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        UNet2DConditionModel(
            sample_size=8, in_channels=4, out_channels=4, layers_per_block=1, block_out_channels=WIDTHS, norm_num_groups=8,
            down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"), up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
            cross_attention_dim=16, attention_head_dim=2,
        ).save_pretrained(image / "unet")  # fmt: skip
        motion = MotionAdapter(
            block_out_channels=WIDTHS, motion_layers_per_block=1, motion_num_attention_heads=2, motion_norm_num_groups=8,
            motion_max_seq_length=8,
        )  # fmt: skip
        for parameter in motion.parameters():  # an adapter starts with output projections of zero
            torch.nn.init.normal_(parameter, std=0.1)
        motion.save_pretrained(adapter)
    return image, adapter


@pytest.fixture(scope="session")
def tiny_options(
    tiny_backbone: Path, animatediff_folders: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, dict[str, Any]]:
    """Options that load a tiny model, by the backbone's name; a class that this file does not know writes its own by ``tiny``."""
    image, adapter = animatediff_folders
    options: dict[str, dict[str, Any]] = {
        "unet3d": {"source": str(tiny_backbone)},
        "animatediff": {"source": str(image), "adapter": str(adapter)},
    }
    for name in BACKBONES:
        if name not in options:
            options[name] = BACKBONES[name].tiny(tmp_path_factory.mktemp(name))
    return options
