"""The tiny backbone and its sites, for every test of motion."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from motion_ablation.backbones import UNet3DBackbone
from motion_ablation.records import Site

FRAMES, SIZE = 4, 16


@pytest.fixture(scope="session")
def backbone(tiny_backbone: Path) -> UNet3DBackbone:
    return UNet3DBackbone(str(tiny_backbone))


@pytest.fixture(scope="session")
def sites(backbone: UNet3DBackbone) -> list[Site]:
    """Every site as a clip of ``FRAMES`` frames of ``SIZE`` pixels shows it."""
    return backbone.sites(FRAMES, SIZE, SIZE)


@pytest.fixture(scope="session")
def inputs(backbone: UNet3DBackbone) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Latents of two videos, a timestep, and two texts."""
    generator = torch.Generator().manual_seed(1)
    latents = torch.randn(2, *backbone.latent_shape(FRAMES, SIZE, SIZE), generator=generator)
    return latents, torch.tensor([400]), backbone.embed(["a red star", "a blue circle moving up"])
