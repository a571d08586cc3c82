"""Pretraining of the built-in image-text model that the metrics use."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel, CLIPVisionConfig

from motion_ablation.data.world.shapes import SHAPES, appearances, render, sample_scene
from motion_ablation.pretrain.optimizer import MuonAdamW
from motion_ablation.pretrain.text import MAX_TOKENS, build_tokenizer, text_config
from motion_ablation.pretrain.vae import trapezoid

MEAN, STD = (0.5, 0.5, 0.5), (0.25, 0.25, 0.25)


class AppearanceBatches(Dataset[dict[str, Any]]):
    """Batches of single frames whose appearance captions are all different, each set by ``(seed, index)``.

    ``held_out=None`` draws from every appearance: the metric's network must know the prompts that the generator has
    not seen. ``alike`` draws, for each pair of colours, all six shapes in it: only their outlines tell them apart.
    Items hold ``frames`` ``(b, 3, size, size)`` in ``[0, 1]`` and ``captions``.
    """

    def __init__(
        self, length: int, batch_size: int, size: int = 64, seed: int = 0, held_out: bool | None = None, alike: bool = False
    ) -> None:
        self.length, self.batch_size, self.size, self.seed, self.alike = length, batch_size, size, seed, alike
        sides = (False, True) if held_out is None else (held_out,)
        self.choices = [triple for side in sides for triple in appearances(side)]

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> dict[str, Any]:
        if not 0 <= index < self.length:
            raise IndexError(f"batch {index} of {self.length}")
        rng = np.random.default_rng((self.seed, index))
        frames, captions = [], []
        for shape, color, background in self._draw(rng):
            scene = sample_scene(rng, shape=shape, color=color, background=background)
            frames.append(torch.from_numpy(render(scene, 1, self.size, rng.random(1))[0][0]))
            captions.append(scene.caption(motion=False))
        return {"frames": torch.stack(frames), "captions": captions}

    def _draw(self, rng: np.random.Generator) -> list[tuple[str, str, str]]:
        if not self.alike:
            return [self.choices[row] for row in rng.choice(len(self.choices), self.batch_size, replace=False)]
        grounds = list(dict.fromkeys((color, background) for _, color, background in self.choices))
        pairs = [grounds[row] for row in rng.choice(len(grounds), -(-self.batch_size // len(SHAPES)), replace=False)]
        triples = [(shape, *pair) for pair in pairs for shape in SHAPES]
        return [triple for triple in triples if triple in self.choices][: self.batch_size]


class AppearanceDataModule(L.LightningDataModule):
    """An endless stream of :class:`AppearanceBatches`."""

    def __init__(self, batch_size: int = 64, batches: int = 200, size: int = 64, seed: int = 2_000_000, num_workers: int = 0) -> None:
        super().__init__()
        self.save_hyperparameters(logger=False)

    def _loader(self, length: int, seed: int) -> DataLoader[Any]:
        hp: Any = self.hparams
        return DataLoader(AppearanceBatches(length, hp.batch_size, hp.size, seed, alike=True), batch_size=None, num_workers=hp.num_workers)

    def train_dataloader(self) -> DataLoader[Any]:
        hp: Any = self.hparams
        return self._loader(hp.batches, hp.seed + 1 + (self.trainer.current_epoch if self.trainer else 0))

    def val_dataloader(self) -> DataLoader[Any]:
        return self._loader(8, self.hparams["seed"])


class PretrainCLIP(L.LightningModule):
    """Trains a small ``CLIPModel`` by the symmetric contrastive loss (Radford et al. 2021) and saves its folder.

    Args:
        output: folder that receives the model, tokenizer and preprocessor whenever an epoch ends.
        width, layers, patch: shape of the vision transformer. projection: dimension of the shared space.
        decay: share of all steps, at their end, over which the learning rate falls to nothing.
        start: folder of an earlier model of the same shape to go on from.
    """

    def __init__(
        self, output: str, width: int = 128, layers: int = 4, patch: int = 8, size: int = 64, projection: int = 64,
        lr: float = 3e-3, decay: float = 0.5, noise: float = 0.05, start: str | None = None,
    ) -> None:  # fmt: skip
        super().__init__()
        self.save_hyperparameters()
        self.tokenizer = build_tokenizer()
        vision = CLIPVisionConfig(
            hidden_size=width, intermediate_size=3 * width, num_hidden_layers=layers, num_attention_heads=4,
            image_size=size, patch_size=patch, projection_dim=projection, hidden_act="gelu",
        )  # fmt: skip
        text = text_config(self.tokenizer)
        self.clip = CLIPModel(CLIPConfig(text_config=text.to_dict(), vision_config=vision.to_dict(), projection_dim=projection))
        if start:
            self.clip.load_state_dict(CLIPModel.from_pretrained(start).state_dict())
        self.register_buffer("mean", torch.tensor(MEAN)[None, :, None, None], persistent=False)
        self.register_buffer("std", torch.tensor(STD)[None, :, None, None], persistent=False)

    def similarities(self, batch: dict[str, Any], noise: float = 0.0) -> Tensor:
        """Scaled cosines ``(captions, frames)``."""
        tokens = self.tokenizer(
            batch["captions"], padding="max_length", max_length=MAX_TOKENS, truncation=True, return_tensors="pt"
        ).input_ids
        frames = batch["frames"] + noise * torch.rand(1).item() * torch.randn_like(batch["frames"])
        return self.clip(input_ids=tokens.to(self.device), pixel_values=(frames - self.mean) / self.std).logits_per_text

    def training_step(self, batch: dict[str, Any], _: int) -> Tensor:
        logits = self.similarities(batch, self.hparams["noise"])
        target = torch.arange(len(logits), device=logits.device)
        cross_entropy = torch.nn.functional.cross_entropy
        loss = (cross_entropy(logits, target) + cross_entropy(logits.T, target)) / 2
        self.log_dict({"train/loss": loss, "train/top1": (logits.argmax(0) == target).float().mean()}, prog_bar=True)
        return loss

    def validation_step(self, batch: dict[str, Any], _: int) -> None:
        logits = self.similarities(batch)
        target = torch.arange(len(logits), device=logits.device)
        self.log("val/top1", (logits.argmax(0) == target).float().mean(), prog_bar=True, batch_size=len(target))

    def on_validation_epoch_end(self) -> None:
        if self.trainer.sanity_checking or not self.trainer.is_global_zero:
            return
        folder, size = Path(self.hparams["output"]), self.hparams["size"]
        self.clip.save_pretrained(folder)
        self.tokenizer.save_pretrained(folder)
        edge = {"height": size, "width": size}
        CLIPImageProcessor(size={"shortest_edge": size}, crop_size=edge, image_mean=MEAN, image_std=STD).save_pretrained(folder)

    def configure_optimizers(self) -> Any:
        optimizer = MuonAdamW(self, lr=self.hparams["lr"])
        total = int(self.trainer.max_steps)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: trapezoid(step, total, self.hparams["decay"]))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}
