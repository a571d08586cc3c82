"""LightningDataModules over the built-in world."""

from __future__ import annotations

from typing import Any

import lightning as L
import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from motion_ablation.data.world.shapes import Scene, render, sample_scene


def caption_for(scene: Scene, rng: np.random.Generator, motion_dropout: float, caption_dropout: float) -> str:
    """The scene's caption with the motion phrases, or the whole caption, left out at the given rates."""
    draw = rng.random()
    if draw < caption_dropout:
        return ""
    return scene.caption(motion=draw >= caption_dropout + motion_dropout)


class ShapesDataset(Dataset[dict[str, Any]]):
    """Procedural clips, each determined by ``(seed, index)`` alone.

    Items hold ``frames`` ``(f, 3, size, size)`` in ``[0, 1]``, ``caption``, ``appearance`` (the caption without
    motion), ``center`` ``(f, 2)``, ``scale`` ``(f,)``, ``angle`` ``(f,)``, ``zoom`` ``(f,)`` and ``pan`` ``(f, 2)``.

    Args:
        length: number of clips. frames: frames per clip; 1 gives a frame at a random time of the motion.
        held_out: draw the appearances that pretraining never sees.
        motion_dropout: share of captions without motion phrases. caption_dropout: share of empty captions.
    """

    def __init__(
        self, length: int, frames: int = 16, size: int = 64, seed: int = 0, held_out: bool = False,
        motion_dropout: float = 0.0, caption_dropout: float = 0.0,
    ) -> None:  # fmt: skip
        self.length, self.frames, self.size, self.seed, self.held_out = length, frames, size, seed, held_out
        self.motion_dropout, self.caption_dropout = motion_dropout, caption_dropout

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> dict[str, Any]:
        if not 0 <= index < self.length:
            raise IndexError(f"clip {index} of {self.length}")
        rng = np.random.default_rng((self.seed, index))
        scene = sample_scene(rng, held_out=self.held_out)
        times = rng.random(1) if self.frames == 1 else None
        frames, truth = render(scene, self.frames, self.size, times)
        caption = caption_for(scene, rng, self.motion_dropout, self.caption_dropout)
        tensors = {name: torch.from_numpy(np.asarray(value)) for name, value in vars(truth).items()}
        return {"frames": torch.from_numpy(frames), "caption": caption, "appearance": scene.caption(motion=False), **tensors}


class ShapesDataModule(L.LightningDataModule):
    """An endless stream of :class:`ShapesDataset` clips: every epoch draws new ones, from the seed and its number.

    Args:
        frames: frames per clip (1: single frames). size: pixels. batch_size: clips per batch.
        epoch_length: clips per epoch. val_length: clips for validation, of held-out appearances.
        seed: start of the stream. motion_dropout, caption_dropout: see :class:`ShapesDataset`.
    """

    def __init__(
        self, frames: int = 16, size: int = 64, batch_size: int = 16, epoch_length: int = 3200, val_length: int = 64, seed: int = 0,
        motion_dropout: float = 0.0, caption_dropout: float = 0.0, num_workers: int = 0,
    ) -> None:  # fmt: skip
        super().__init__()
        self.save_hyperparameters(logger=False)
        self.num_workers = num_workers
        self.batch_size = batch_size

    def _dataset(self, length: int, seed: int, held_out: bool) -> ShapesDataset:
        hp: Any = self.hparams
        return ShapesDataset(length, hp.frames, hp.size, seed, held_out, hp.motion_dropout, hp.caption_dropout)

    def train_dataloader(self) -> DataLoader[Any]:
        hp: Any = self.hparams
        epoch = self.trainer.current_epoch if self.trainer else 0
        # Validation uses seeds just below; epochs count up, so the two never meet.
        return DataLoader(self._dataset(hp.epoch_length, hp.seed + 1 + epoch, False), self.batch_size, num_workers=self.num_workers)

    def val_dataloader(self) -> DataLoader[Any]:
        hp: Any = self.hparams
        return DataLoader(self._dataset(hp.val_length, hp.seed, True), self.batch_size, num_workers=self.num_workers)
