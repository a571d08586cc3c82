"""Tiny random models of every class of backbone."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import (
    AutoencoderKLCogVideoX,
    AutoencoderKLWan,
    CogVideoXDDIMScheduler,
    CogVideoXTransformer3DModel,
    MotionAdapter,
    UNet2DConditionModel,
    UniPCMultistepScheduler,
    WanTransformer3DModel,
)
from transformers import T5Config, T5EncoderModel, T5Tokenizer, UMT5Config, UMT5EncoderModel

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


def write_text_encoder(folder: Path, model: Any, config: Any) -> None:
    """A T5 of one layer, and a tokenizer of single letters."""
    letters = [(letter, -3.0) for letter in "abcdefghijklmnopqrstuvwxyz,."]
    vocabulary = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -2.0), *letters]
    T5Tokenizer(vocab=vocabulary, extra_ids=0).save_pretrained(folder / "tokenizer")
    sizes = {"d_model": 32, "d_kv": 8, "d_ff": 32, "num_layers": 1, "num_heads": 4}
    model(config(vocab_size=len(vocabulary), **sizes)).save_pretrained(folder / "text_encoder")


@pytest.fixture(scope="session")
def wan_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Wan 2.1 with two blocks, in its checkpoints' layout, with their scheduler; frames are multiples of 16 pixels, 4 k + 1 of them."""
    folder = tmp_path_factory.mktemp("wan")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        WanTransformer3DModel(
            patch_size=(1, 2, 2), num_attention_heads=2, attention_head_dim=12, in_channels=16, out_channels=16, text_dim=32, freq_dim=32,
            ffn_dim=32, num_layers=2, cross_attn_norm=True, rope_max_seq_len=32,
        ).save_pretrained(folder / "transformer")  # fmt: skip
        AutoencoderKLWan(base_dim=3, z_dim=16, dim_mult=[1, 1, 1, 1], num_res_blocks=1).save_pretrained(folder / "vae")
        write_text_encoder(folder, UMT5EncoderModel, UMT5Config)
        UniPCMultistepScheduler(use_flow_sigmas=True, prediction_type="flow_prediction", flow_shift=3.0).save_pretrained(
            folder / "scheduler"
        )
    return folder


@pytest.fixture(scope="session")
def cogvideox_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """CogVideoX-5B, which has rotary positions, with two blocks; frames are multiples of 16 pixels, 8 k + 1 of them."""
    return write_cogvideox(tmp_path_factory.mktemp("cogvideox"), rotary=True, snr_shift_scale=1.0, timestep_spacing="trailing")


@pytest.fixture(scope="session")
def cogvideox_2b_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """CogVideoX-2B, whose positions are added to the tokens and whose signal shares are shifted."""
    return write_cogvideox(tmp_path_factory.mktemp("cogvideox2b"), rotary=False, snr_shift_scale=3.0, timestep_spacing="linspace")


def write_cogvideox(folder: Path, rotary: bool, **schedule: Any) -> Path:
    """A tiny random CogVideoX in the layout of its checkpoints."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        CogVideoXTransformer3DModel(
            num_attention_heads=2, attention_head_dim=16, in_channels=4, out_channels=4, time_embed_dim=16, text_embed_dim=32, num_layers=2,
            sample_width=8, sample_height=8, sample_frames=9, max_text_seq_length=16, use_rotary_positional_embeddings=rotary,
        ).save_pretrained(folder / "transformer")  # fmt: skip
        AutoencoderKLCogVideoX(
            block_out_channels=(8, 8, 8, 8), latent_channels=4, layers_per_block=1, norm_num_groups=2, scaling_factor=0.7,
        ).save_pretrained(folder / "vae")  # fmt: skip
        write_text_encoder(folder, T5EncoderModel, T5Config)
        CogVideoXDDIMScheduler(
            prediction_type="v_prediction", rescale_betas_zero_snr=True, clip_sample=False, **schedule
        ).save_pretrained(folder / "scheduler")  # fmt: skip
    return folder


@pytest.fixture(scope="session")
def tiny_options(
    tiny_backbone: Path,
    animatediff_folders: tuple[Path, Path],
    wan_folder: Path,
    cogvideox_folder: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[str, dict[str, Any]]:
    """Options that load a tiny model, by the backbone's name; a class that this file does not know writes its own by ``tiny``."""
    image, adapter = animatediff_folders
    options: dict[str, dict[str, Any]] = {
        "unet3d": {"source": str(tiny_backbone)},
        "animatediff": {"source": str(image), "adapter": str(adapter)},
        "wan": {"source": str(wan_folder)},
        "cogvideox": {"source": str(cogvideox_folder)},
    }
    for name in BACKBONES:
        if name not in options:
            options[name] = BACKBONES[name].tiny(tmp_path_factory.mktemp(name))
    return options
