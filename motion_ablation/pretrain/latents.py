"""A pool of encoded built-in videos, made once and kept on disk, for training the text-to-video model."""

from __future__ import annotations

from bisect import bisect_right
from itertools import accumulate
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import torch
from diffusers import AutoencoderKL
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from motion_ablation.data.world.shapes import render, sample_scene
from motion_ablation.data.world.stream import caption_for
from motion_ablation.files import replacing

SHARD = 1000


def encode_shard(vae: AutoencoderKL, path: Path, first: int, count: int, frames: int, size: int, seed: int) -> None:
    """Renders and encodes the clips ``first .. first + count`` and writes their scaled latents atomically."""
    latents = []
    for index in range(first, first + count):
        video, _ = render(sample_scene(np.random.default_rng((seed, index))), frames, size)
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
            mean = vae.encode(torch.from_numpy(video) * 2 - 1).latent_dist.mean
        latents.append((mean.float() * vae.config.scaling_factor).half())
    with replacing(path) as part:
        save_file({"latents": torch.stack(latents).contiguous()}, part)


class LatentPool(Dataset[dict[str, Any]]):
    """Windows of the pool's clips with freshly drawn captions; ``(f, c, h, w)`` latents and a caption per item."""

    def __init__(
        self, latents: Tensor, pool_seed: int, length: int, frames: int, seed: int, motion_dropout: float, caption_dropout: float
    ) -> None:
        self.latents, self.pool_seed, self.length, self.frames, self.seed = latents, pool_seed, length, frames, seed
        self.motion_dropout, self.caption_dropout = motion_dropout, caption_dropout

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, item: int) -> dict[str, Any]:
        rng = np.random.default_rng((self.seed, item))
        index = int(rng.integers(len(self.latents)))
        scene = sample_scene(np.random.default_rng((self.pool_seed, index)))
        total = self.latents.shape[1]
        if self.frames == 1:
            picked = self.latents[index, int(rng.integers(total))][None]
            caption = caption_for(scene, rng, 1 - self.caption_dropout, self.caption_dropout)
        else:
            stride = total // self.frames
            picked = self.latents[index, int(rng.integers(stride)) :: stride]
            caption = caption_for(scene, rng, self.motion_dropout, self.caption_dropout)
        return {"latents": picked.float(), "caption": caption}


class LatentDataModule(L.LightningDataModule):
    """Encodes the pool if it is not there yet, and serves it by a curriculum of clip lengths.

    Args:
        vae: folder of the trained autoencoder. cache: folder of the encoded pool. pool: number of clips.
        curriculum: rows ``[epochs, frames, batch size, batches per epoch]``, in order; the last row goes on for ever.
    """

    def __init__(
        self, vae: str, cache: str, curriculum: list[list[int]], pool: int = 12000, frames: int = 16, size: int = 64, seed: int = 1_000_000,
        motion_dropout: float = 0.25, caption_dropout: float = 0.1,
    ) -> None:  # fmt: skip
        super().__init__()
        self.save_hyperparameters(logger=False)
        self.latents: Tensor | None = None

    def _shards(self) -> list[Path]:
        hp: Any = self.hparams
        return [Path(hp.cache) / f"{hp.seed}-{hp.frames}x{hp.size}-{first}.safetensors" for first in range(0, hp.pool, SHARD)]

    def prepare_data(self) -> None:
        hp: Any = self.hparams
        vae = None
        for number, path in enumerate(self._shards()):
            if not path.exists():
                vae = vae or AutoencoderKL.from_pretrained(hp.vae).eval().to(memory_format=torch.channels_last)
                encode_shard(vae, path, number * SHARD, min(SHARD, hp.pool - number * SHARD), hp.frames, hp.size, hp.seed)

    def setup(self, stage: str) -> None:
        if self.latents is None:
            shards = []
            for path in self._shards():
                with safe_open(path, "pt") as file:
                    shards.append(file.get_tensor("latents"))
            self.latents = torch.cat(shards)

    def row(self, epoch: int) -> tuple[int, int, int]:
        """Frames, batch size and batches of an epoch."""
        hp: Any = self.hparams
        ends = list(accumulate(epochs for epochs, *_ in hp.curriculum))
        _, frames, batch_size, batches = hp.curriculum[min(bisect_right(ends, epoch), len(ends) - 1)]
        return frames, batch_size, batches

    def train_dataloader(self) -> DataLoader[Any]:
        hp: Any = self.hparams
        assert self.latents is not None
        epoch = self.trainer.current_epoch if self.trainer else 0
        frames, batch_size, batches = self.row(epoch)
        pool = LatentPool(self.latents, hp.seed, batch_size * batches, frames, hp.seed + 1 + epoch, hp.motion_dropout, hp.caption_dropout)
        return DataLoader(pool, batch_size)
