"""Pretraining of the built-in backbone's frame autoencoder."""

from __future__ import annotations

import copy
import math
from pathlib import Path
from typing import Any

import lightning as L
import torch
from diffusers import AutoencoderKL
from torch import Tensor


def reconstruction_weights(frames: Tensor, strength: float) -> Tensor:
    """Weights in ``[1, 1 + strength]`` that grow with a pixel's distance from its frame's median colour.

    ``frames`` is ``(b, 3, h, w)`` in ``[-1, 1]``; the result is ``(b, 1, h, w)``. Small objects would otherwise
    vanish in the mean over a large background.
    """
    median = frames.flatten(2).median(dim=2).values[:, :, None, None]
    distance = (frames - median).abs().sum(1, keepdim=True)
    return 1 + strength * distance.clamp(max=1)


def edges(frames: Tensor) -> tuple[Tensor, Tensor]:
    """Differences of neighbouring pixels, downwards and to the right."""
    return frames.diff(dim=-2), frames.diff(dim=-1)


def outline_weights(frames: Tensor, strength: float) -> Tensor:
    """Weights in ``[1, 1 + strength]`` that are largest within a pixel of the frame's strongest edges: ``(b, 1, h, w)``."""
    down, right = edges(frames)
    pad = torch.nn.functional.pad
    steep = pad(down.abs().sum(1, keepdim=True), (0, 0, 0, 1)) + pad(right.abs().sum(1, keepdim=True), (0, 1))
    steep = torch.nn.functional.max_pool2d(steep, 3, 1, 1)
    return 1 + strength * steep / steep.flatten(1).amax(1).clamp(min=1e-6)[:, None, None, None]


def contrast(frames: Tensor) -> Tensor:
    """How far an object's colour is from its background's, ``(b, 1, 1, 1)``, at least 0.35: errors are counted in shares of it.

    It is the 97th percentile of the distances from the frame's median colour, so an object of a few per cent of the frame decides it.
    """
    distance = (frames - frames.flatten(2).median(dim=2).values[:, :, None, None]).abs().sum(1)
    return distance.float().flatten(1).quantile(0.97, dim=1).clamp(0.35, 2)[:, None, None, None]


def psnr(a: Tensor, b: Tensor) -> Tensor:
    """Peak signal-to-noise ratio in dB of two tensors in ``[-1, 1]``."""
    return 10 * torch.log10(4 / (a - b).square().mean())


def cosine(step: int, total: int, warmup: int = 100) -> float:
    """Learning-rate factor: linear warm-up, then cosine decay to a hundredth."""
    if step < warmup:
        return (step + 1) / warmup
    progress = min(1.0, (step - warmup) / max(1, total - warmup))
    return 0.01 + 0.99 * (1 + math.cos(math.pi * progress)) / 2


def trapezoid(step: int, total: int, decay: float, warmup: int = 100) -> float:
    """Learning-rate factor: linear warm-up, constant, and linear to a hundredth over the last ``decay`` of all steps."""
    left = (total - step) / max(1, decay * total)
    return min((step + 1) / warmup, max(0.01, left), 1.0)


class PretrainVAE(L.LightningModule):
    """Trains an ``AutoencoderKL`` on single frames and saves it as a diffusers folder.

    Args:
        output: folder that receives ``vae/`` whenever an epoch ends.
        channels: channels per level; every level but the last halves the size. latent_channels: channels of the latent.
        lr: peak learning rate. kl: weight of the KL term. emphasis: see :func:`reconstruction_weights`.
        outlines: see :func:`outline_weights`. edge: weight of the error in :func:`edges`.
        noise: the decoder sees latents with Gaussian noise of up to this share of their spread, as the denoiser's are never exact.
        start: folder of an earlier autoencoder of the same shape to go on from.
    """

    def __init__(
        self, output: str, channels: tuple[int, ...] = (16, 32, 64), latent_channels: int = 4, size: int = 64,
        lr: float = 1.2e-3, kl: float = 3e-5, emphasis: float = 2.0, outlines: float = 8.0, edge: float = 2.0, noise: float = 0.12,
        start: str | None = None,
    ) -> None:  # fmt: skip
        super().__init__()
        self.save_hyperparameters()
        self.vae = AutoencoderKL(
            in_channels=3, out_channels=3, latent_channels=latent_channels, block_out_channels=tuple(channels), layers_per_block=1,
            down_block_types=("DownEncoderBlock2D",) * len(channels), up_block_types=("UpDecoderBlock2D",) * len(channels),
            norm_num_groups=8, mid_block_add_attention=False, sample_size=size, scaling_factor=1.0,
        )  # fmt: skip
        if start:
            self.vae.load_state_dict(AutoencoderKL.from_pretrained(start).state_dict())
        self.vae.to(memory_format=torch.channels_last)

    def training_step(self, batch: dict[str, Any], _: int) -> Tensor:
        hp: Any = self.hparams
        frames = batch["frames"].flatten(0, 1) * 2 - 1
        posterior = self.vae.encode(frames).latent_dist
        latents = posterior.sample()
        amount = hp.noise * torch.rand(len(latents), 1, 1, 1, device=latents.device)
        decoded = self.vae.decode(latents + amount * posterior.mean.detach().std() * torch.randn_like(latents)).sample
        error = decoded - frames
        scale = contrast(frames)
        weights = (reconstruction_weights(frames, hp.emphasis) + outline_weights(frames, hp.outlines) - 1) / scale
        reconstruction = (weights * (error.abs() + error.square())).mean()
        reconstruction = reconstruction + hp.edge * sum((part.abs() / scale).mean() for part in edges(error))
        kl = posterior.kl().mean() / frames[0].numel()
        self.log_dict(
            {"train/reconstruction": reconstruction, "train/kl": kl, "train/psnr": psnr(decoded.clamp(-1, 1), frames)}, prog_bar=True
        )
        return reconstruction + hp.kl * kl * frames[0].numel() / posterior.mean[0].numel()

    def validation_step(self, batch: dict[str, Any], index: int) -> None:
        frames = batch["frames"].flatten(0, 1) * 2 - 1
        latents = self.vae.encode(frames).latent_dist.mean
        decoded = self.vae.decode(latents).sample.clamp(-1, 1)
        self.log_dict({"val/psnr": psnr(decoded, frames), "val/latent_std": latents.std()}, prog_bar=True, batch_size=len(frames))
        if index == 0 and self.logger is not None:
            pairs = torch.stack([frames[:8], decoded[:8]]).add(1).div(2)
            writer: Any = self.logger.experiment  # type: ignore[attr-defined]
            writer.add_image("reconstruction", torch.cat([torch.cat(list(row), -1) for row in pairs], -2), self.global_step)

    def on_validation_epoch_end(self) -> None:
        if self.trainer.sanity_checking or not self.trainer.is_global_zero:
            return
        scale = 1 / self.trainer.callback_metrics["val/latent_std"].item()
        self.vae.register_to_config(scaling_factor=round(scale, 5))
        copy.deepcopy(self.vae).half().save_pretrained(Path(self.hparams["output"]) / "vae")

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.AdamW(self.vae.parameters(), lr=self.hparams["lr"], weight_decay=1e-4)
        total = int(self.trainer.estimated_stepping_batches)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: cosine(step, total))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}
