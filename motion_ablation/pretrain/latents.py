"""A pool of encoded built-in videos, made once and kept on disk, for training the text-to-video model."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
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

from motion_ablation.data.world.shapes import MOTIONS, Scene, coverage, render, sample_scene
from motion_ablation.data.world.stream import caption_for
from motion_ablation.files import replacing
from motion_ablation.weights import fingerprint

SHARD = 1000
MEETING = 4
"""Motions that meet in one batch, of one appearance."""
PAIRS = tuple(MOTIONS[first : first + 2] for first in range(0, len(MOTIONS), 2))
"""Each motion with its opposite, or with the one most like it: the two meet in the same batch."""
GROUPED_BATCHES = 0.75
"""Share of batches in which motions meet, while the curriculum counts appearances and names no other."""


def clip_scene(seed: int, index: int, grouped: int) -> Scene:
    """The pool's clip of this index: the first ``grouped`` ones show one appearance in all motions after the other, the rest anything.

    Clips of one appearance differ in the motion alone: texture, angle, phase and travel are the same, and the start as far as it can be.
    """
    if index >= grouped:
        return sample_scene(np.random.default_rng((seed, index)))
    base, motion = sample_scene(np.random.default_rng((seed, index // len(MOTIONS), 0))), MOTIONS[index % len(MOTIONS)]
    shared = {name: getattr(base, name) for name in ("shape", "color", "background", "travel", "angle", "phase", "waves")}
    return sample_scene(np.random.default_rng((seed, index // len(MOTIONS), 1)), motion=motion, camera="static", **shared)


def object_cells(covered: Tensor, height: int) -> Tensor:
    """The latents' cells that the object touches, and their neighbours: ``(f, h, w)`` of 0 and 1, from its coverage in pixels."""
    cells = torch.nn.functional.max_pool2d(covered[:, None], covered.shape[-2] // height)
    return torch.nn.functional.max_pool2d(cells, 3, 1, 1)[:, 0].gt(0).byte()


@dataclass
class RenderedClips(Dataset[tuple[Tensor, Tensor]]):
    """The pool's clips ``first .. first + count``: frames ``(f, 3, size, size)`` in ``[-1, 1]``, and :func:`object_cells` ``(f, h, w)``.

    ``seed`` and ``grouped`` are those of :func:`clip_scene`; ``cells`` is how many there are along the height.
    """

    first: int
    count: int
    frames: int
    size: int
    seed: int
    grouped: int
    cells: int

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, row: int) -> tuple[Tensor, Tensor]:
        scene = clip_scene(self.seed, self.first + row, self.grouped)
        video, truth = render(scene, self.frames, self.size)
        covered = torch.from_numpy(coverage(scene, truth, self.size))
        return torch.from_numpy(video) * 2 - 1, object_cells(covered, self.cells)


@torch.no_grad()
def encode_shard(vae: AutoencoderKL, path: Path, clips: RenderedClips, num_workers: int = 0) -> None:
    """Encodes the clips where the autoencoder is, and writes their scaled latents and cells atomically."""
    latents, cells = [], []
    for video, covered in DataLoader(clips, batch_size=8, num_workers=num_workers):
        with torch.autocast(vae.device.type, torch.bfloat16):
            mean = vae.encode(video.flatten(0, 1).to(vae.device)).latent_dist.mean
        latents.append((mean.float() * vae.config.scaling_factor).half().unflatten(0, video.shape[:2]).cpu())
        cells.append(covered)
    with replacing(path) as part:
        save_file({"latents": torch.cat(latents).contiguous(), "object": torch.cat(cells).contiguous()}, part)


class LatentPool(Dataset[dict[str, Any]]):
    """Windows of the pool's clips with freshly drawn captions; ``(f, c, h, w)`` latents, the ``(f, h, w)`` cells of the object, a caption
    and a group per item.

    Items of one group follow each other and show different motions of one appearance; the group of any other item is -1.

    Args:
        grouped: number of the pool's first clips that are in groups. appearances: how many of these to show; 0 is no groups.
        batch_size: items per batch, a multiple of :data:`MEETING` where there are groups. meeting: share of batches in groups.
    """

    def __init__(
        self, latents: Tensor, cells: Tensor, pool_seed: int, length: int, frames: int, seed: int,
        motion_dropout: float, caption_dropout: float, grouped: int = 0, appearances: int = 0, batch_size: int = 1,
        meeting: float = GROUPED_BATCHES,
    ) -> None:  # fmt: skip
        self.latents, self.cells = latents, cells
        self.pool_seed, self.length, self.frames, self.seed = pool_seed, length, frames, seed
        self.motion_dropout, self.caption_dropout = motion_dropout, caption_dropout
        self.grouped, self.batch_size, self.meeting = grouped, batch_size, meeting
        self.appearances = min(appearances, grouped // len(MOTIONS))

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, item: int) -> dict[str, Any]:
        rng = np.random.default_rng((self.seed, item))
        group = self._group(item)
        index = int(rng.integers(len(self.latents))) if group < 0 else self._member(item)
        scene = clip_scene(self.pool_seed, index, self.grouped)
        total = self.latents.shape[1]
        if self.frames == 1:
            first = int(rng.integers(total))
            shown = slice(first, first + 1)
            caption = caption_for(scene, rng, 1 - self.caption_dropout, self.caption_dropout)
        else:
            stride = total // self.frames
            shown = slice(int(rng.integers(stride)), None, stride)
            caption = caption_for(scene, rng, self.motion_dropout, self.caption_dropout)
        picked, cells = self.latents[index, shown].float(), self.cells[index, shown].float()
        return {"latents": picked, "object": cells, "caption": caption, "group": group}

    def _group(self, item: int) -> int:
        meets = np.random.default_rng((self.seed, item // self.batch_size, 1)).random() < self.meeting
        return item // MEETING if self.appearances and meets else -1

    def _member(self, item: int) -> int:
        rng = np.random.default_rng((self.seed, item // MEETING, 2))
        appearance = int(rng.integers(self.appearances))
        pairs = rng.permutation(PAIRS)
        return appearance * len(MOTIONS) + MOTIONS.index(pairs[: MEETING // 2].flatten()[item % MEETING])


class LatentDataModule(L.LightningDataModule):
    """Encodes the pool if it is not there yet, and serves it by a curriculum of clip lengths.

    Args:
        vae: folder of the trained autoencoder. cache: folder of the encoded pool. pool: number of clips.
        curriculum: rows ``[epochs, frames, batch size, batches per epoch]``, in order; the last row goes on for ever. A fifth number
            is how many appearances to learn the motion words on, a sixth the share of batches that do so; see :class:`LatentPool`.
        grouped: share of the pool that shows one appearance in all motions. num_workers: processes that render and draw clips.
    """

    def __init__(
        self, vae: str, cache: str, curriculum: list[list[float]], pool: int = 12000, frames: int = 16, size: int = 64,
        seed: int = 1_000_000, motion_dropout: float = 0.25, caption_dropout: float = 0.1, grouped: float = 0.7,
        num_workers: int = 0,
    ) -> None:  # fmt: skip
        super().__init__()
        self.save_hyperparameters(logger=False)
        self.latents: Tensor | None = None
        self.cells: Tensor | None = None

    def _shards(self) -> list[Path]:
        hp: Any = self.hparams
        # Another autoencoder has other latents.
        name = f"{fingerprint(Path(hp.vae))}-{hp.seed}-{hp.frames}x{hp.size}-{self.grouped_clips()}of{hp.pool}"
        return [Path(hp.cache) / f"{name}-{first}.safetensors" for first in range(0, hp.pool, SHARD)]

    def grouped_clips(self) -> int:
        """How many clips, from the first on, are in groups: whole groups only."""
        return int(self.hparams["grouped"] * self.hparams["pool"]) // len(MOTIONS) * len(MOTIONS)

    def prepare_data(self) -> None:
        hp: Any = self.hparams
        vae: Any = None
        for number, path in enumerate(self._shards()):
            if not path.exists():
                if vae is None:
                    device = "cuda" if torch.cuda.is_available() else "cpu"
                    vae = AutoencoderKL.from_pretrained(hp.vae).eval().to(device, memory_format=torch.channels_last)
                first = number * SHARD
                cells = hp.size // 2 ** (len(vae.config.block_out_channels) - 1)
                clips = RenderedClips(first, min(SHARD, hp.pool - first), hp.frames, hp.size, hp.seed, self.grouped_clips(), cells)
                encode_shard(vae, path, clips, hp.num_workers)

    def setup(self, stage: str) -> None:
        if self.latents is None:
            latents, cells = [], []
            for path in self._shards():
                with safe_open(path, "pt") as file:
                    latents.append(file.get_tensor("latents"))
                    cells.append(file.get_tensor("object"))
            self.latents, self.cells = torch.cat(latents), torch.cat(cells)

    def row(self, epoch: int) -> tuple[int, int, int, int, float]:
        """Frames, batch size, batches, appearances (0: no groups) and the share of batches in groups, of an epoch."""
        hp: Any = self.hparams
        ends = list(accumulate(epochs for epochs, *_ in hp.curriculum))
        row = hp.curriculum[min(bisect_right(ends, epoch), len(ends) - 1)]
        appearances, meeting = (row[4] if len(row) > 4 else 0), (row[5] if len(row) > 5 else GROUPED_BATCHES)
        return int(row[1]), int(row[2]), int(row[3]), int(appearances), meeting

    def train_dataloader(self) -> DataLoader[Any]:
        hp: Any = self.hparams
        assert self.latents is not None and self.cells is not None
        epoch, rank, ranks = (t.current_epoch, t.global_rank, t.world_size) if (t := self.trainer) else (0, 0, 1)
        frames, batch_size, batches, appearances, meeting = self.row(epoch)
        # Every process draws its own clips: a sampler that deals them out would tear groups apart (trainer.use_distributed_sampler).
        pool = LatentPool(
            self.latents, self.cells, hp.seed, batch_size * batches // ranks, frames, hp.seed + 1 + epoch * ranks + rank,
            hp.motion_dropout, hp.caption_dropout, self.grouped_clips(), appearances, batch_size, meeting,
        )  # fmt: skip
        return DataLoader(pool, batch_size, num_workers=hp.num_workers)
