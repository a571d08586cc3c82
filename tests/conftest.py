"""What every test shares: no network, a fixed seed, and tiny random models in the real folder layouts."""

from __future__ import annotations

import os
import random
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

# Set here, not in a fixture: the hub libraries read these once, when they are imported.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TRANSFORMERS_OFFLINE"] = "1"

import numpy as np
import pytest
import torch
import yaml

ROOT = Path(__file__).parents[1]


class NetworkForbidden(RuntimeError):
    """A test tried to leave this machine. Not an ``OSError``, so no library takes it for being offline."""


def _is_local(address: Any) -> bool:
    """Whether a socket address is on this machine: loopback, or not an internet address at all."""
    if not isinstance(address, tuple):
        return True
    host = str(address[0])
    return host in {"", "localhost", "::1"} or host.startswith("127.")


RANKS = ("MASTER_ADDR", "MASTER_PORT", "LOCAL_RANK", "NODE_RANK", "GROUP_RANK", "RANK", "WORLD_SIZE")


@pytest.fixture(autouse=True)
def no_process_group_left() -> Iterator[None]:
    """A test that trains by DDP in this process leaves neither its process group nor its variables to the next."""
    before = {name: os.environ.get(name) for name in RANKS}
    yield
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()
    for name, value in before.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


@pytest.fixture(scope="session", autouse=True)
def no_network() -> Iterator[None]:
    """Connections to anything but loopback raise ``NetworkForbidden``."""
    connect, connect_ex = socket.socket.connect, socket.socket.connect_ex

    def refuse(address: Any) -> None:
        if not _is_local(address):
            raise NetworkForbidden(f"a test tried to connect to {address}; tests run without a network")

    def guarded_connect(self: socket.socket, address: Any) -> None:
        refuse(address)
        connect(self, address)

    def guarded_connect_ex(self: socket.socket, address: Any) -> int:
        refuse(address)
        return connect_ex(self, address)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", guarded_connect)
        patch.setattr(socket.socket, "connect_ex", guarded_connect_ex)
        yield


@pytest.fixture(autouse=True)
def seed() -> int:
    """Seeds Python, NumPy and torch before every test; the seed itself, for generators made inside one."""
    value = 0
    random.seed(value)
    np.random.seed(value)
    torch.manual_seed(value)
    return value


def _save_clip(folder: Path) -> None:
    """A random ``CLIPModel`` folder, written as its pretraining writes it."""
    from motion_ablation.pretrain.clip import PretrainCLIP

    trainer = SimpleNamespace(sanity_checking=False, is_global_zero=True)
    module = PretrainCLIP(str(folder), width=16, layers=1, patch=8, size=16, projection=16)
    module.trainer = trainer  # type: ignore[assignment]
    module.on_validation_epoch_end()


@pytest.fixture(scope="session")
def tiny_backbone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random text-to-video folder as pretraining saves it: two levels, 2x autoencoder, v-prediction; frames are multiples of 4 pixels."""
    from motion_ablation.pretrain.text_to_video import PretrainTextToVideo
    from motion_ablation.pretrain.vae import PretrainVAE

    folder = tmp_path_factory.mktemp("tiny")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        PretrainVAE(str(folder), channels=(8, 16), latent_channels=4, size=16).vae.save_pretrained(folder / "vae")
        model = PretrainTextToVideo(
            str(folder), channels=(16, 32), latent_channels=4, latent_size=8, head_dim=8, text_width=16, text_layers=1
        )
        model.save(folder)
    return folder


@pytest.fixture(scope="session")
def tiny_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random image-text model for the metrics."""
    folder = tmp_path_factory.mktemp("clip")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        _save_clip(folder)
    return folder


@pytest.fixture(scope="session")
def zeroscope_like(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights in ZeroScope's layout and block structure, twenty times narrower; frames are multiples of 64 pixels."""
    from diffusers import AutoencoderKL, DDIMScheduler, UNet3DConditionModel
    from transformers import CLIPTextModel

    from motion_ablation.pretrain.text import build_tokenizer, text_config

    folder = tmp_path_factory.mktemp("zeroscope")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        tokenizer = build_tokenizer()
        UNet3DConditionModel(
            sample_size=32, in_channels=4, out_channels=4, layers_per_block=2, block_out_channels=(16, 32, 64, 64), norm_num_groups=8,
            down_block_types=("CrossAttnDownBlock3D",) * 3 + ("DownBlock3D",),
            up_block_types=("UpBlock3D",) + ("CrossAttnUpBlock3D",) * 3, cross_attention_dim=32, attention_head_dim=8,
        ).save_pretrained(folder / "unet")  # fmt: skip
        AutoencoderKL(
            latent_channels=4, block_out_channels=(8, 8, 16, 16), layers_per_block=2, norm_num_groups=8, sample_size=64,
            scaling_factor=0.18215, down_block_types=("DownEncoderBlock2D",) * 4, up_block_types=("UpDecoderBlock2D",) * 4,
        ).save_pretrained(folder / "vae")  # fmt: skip
        CLIPTextModel(text_config(tokenizer, width=32, layers=1)).save_pretrained(folder / "text_encoder")
        tokenizer.save_pretrained(folder / "tokenizer")
        DDIMScheduler(
            beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012, prediction_type="epsilon", clip_sample=False,
            set_alpha_to_one=False, steps_offset=1,
        ).save_pretrained(folder / "scheduler")  # fmt: skip
    return folder


def _tiny_settings(folder: Path, backbone: Path, clip: Path) -> dict[str, Any]:
    return {
        "model": {
            "backbone": {"source": str(backbone)},
            "sampling": {"steps": 2, "inversion_steps": 2},
            "cache": str(folder / "cache"),
        },
        "data": {
            "references": ["builtin:orbit"], "frames": 4, "size": 16, "prompts": ["a red triangle on a blue background"], "seeds": [0],
            "videos": None, "steps_per_epoch": 2, "cache": str(folder / "references"),
        },
        "trainer": {
            "accelerator": "cpu", "max_steps": 2, "check_val_every_n_epoch": 1, "log_every_n_steps": 1, "enable_progress_bar": False,
            "logger": {
                "class_path": "lightning.pytorch.loggers.TensorBoardLogger",
                "init_args": {"save_dir": str(folder / "runs"), "name": "fit", "version": "", "default_hp_metric": False},
            },
        },
        "evaluation": {"encoder": str(clip)},
    }  # fmt: skip


@pytest.fixture(scope="session")
def settings_for(tiny_backbone: Path, tiny_clip: Path) -> Callable[[Path], dict[str, Any]]:
    """What a configuration needs to run the defaults in seconds and inside a folder: the tiny networks everywhere, a few steps."""
    return lambda folder: _tiny_settings(folder, tiny_backbone, tiny_clip)


@pytest.fixture
def tiny_settings(tmp_path: Path, settings_for: Callable[[Path], dict[str, Any]]) -> dict[str, Any]:
    """:func:`settings_for` the test's own folder."""
    return settings_for(tmp_path)


@pytest.fixture
def tiny_config(tmp_path: Path, tiny_settings: dict[str, Any]) -> Path:
    """:func:`tiny_settings` as a file for ``--config``; the run's folder is ``runs/fit`` beside it."""
    path = tmp_path / "tiny.yaml"
    path.write_text(yaml.safe_dump(tiny_settings))
    return path
