"""Pretraining of the built-in text-to-video model."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import lightning as L
import torch
from diffusers import AutoencoderKL, DDIMScheduler, UNet3DConditionModel
from diffusers.models.resnet import TemporalConvLayer
from diffusers.models.transformers.transformer_temporal import TransformerTemporalModel
from einops import rearrange
from torch import Tensor
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from transformers import CLIPTextModel

from motion_ablation.backbones.frame_convolution import convolve_frames_flat
from motion_ablation.files import write_json
from motion_ablation.pretrain.optimizer import MuonAdamW
from motion_ablation.pretrain.text import MAX_TOKENS, build_tokenizer, redraw_words, text_config
from motion_ablation.pretrain.vae import trapezoid

PREVIEW = (
    "a red star moving right on a blue background",
    "a white circle moving up on a purple background",
    "a green square circling clockwise on a white background",
    "a yellow ring on a red background",
)


def build_unet(
    channels: tuple[int, ...], latent_channels: int, latent_size: int, text_width: int, head_dim: int, plain: int = 0
) -> UNet3DConditionModel:
    """ZeroScope's class with one layer per block and no dropout; the first ``plain`` levels have convolutions only."""
    attending = len(channels) - plain
    unet = UNet3DConditionModel(
        sample_size=latent_size, in_channels=latent_channels, out_channels=latent_channels, block_out_channels=tuple(channels),
        down_block_types=("DownBlock3D",) * plain + ("CrossAttnDownBlock3D",) * attending,
        up_block_types=("CrossAttnUpBlock3D",) * attending + ("UpBlock3D",) * plain,
        layers_per_block=1, cross_attention_dim=text_width, attention_head_dim=head_dim, norm_num_groups=16,
    )  # fmt: skip
    for layer in unet.modules():
        if isinstance(layer, torch.nn.Dropout):
            layer.p = 0.0
    convolve_frames_flat(unet)
    return unet


def temporal_layers(unet: UNet3DConditionModel) -> list[torch.nn.Module]:
    """The layers that let frames see each other."""
    return [layer for layer in unet.modules() if isinstance(layer, TransformerTemporalModel | TemporalConvLayer)]


@torch.no_grad()
def start_as_identity(unet: UNet3DConditionModel) -> None:
    """Makes every temporal transformer return what it gets, as the temporal convolutions of a new network do."""
    for layer in temporal_layers(unet):
        if isinstance(layer, TransformerTemporalModel):
            layer.proj_out.weight.zero_()
            layer.proj_out.bias.zero_()


@contextmanager
def as_image_model(unet: UNet3DConditionModel) -> Iterator[None]:
    """Within, the temporal layers return what they get: single frames cost half."""
    layers = temporal_layers(unet)
    try:
        for layer in layers:
            kind = isinstance(layer, TransformerTemporalModel)
            layer.forward = _unchanged_in_a_tuple if kind else _unchanged
        yield
    finally:
        for layer in layers:
            del layer.forward


def _unchanged(hidden: Tensor, *_: Any, **__: Any) -> Tensor:
    return hidden


def _unchanged_in_a_tuple(hidden: Tensor, *_: Any, **__: Any) -> tuple[Tensor]:
    return (hidden,)


def build_scheduler() -> DDIMScheduler:
    """v-prediction with zero terminal signal-to-noise ratio and trailing timesteps (Lin et al. 2023)."""
    return DDIMScheduler(
        beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012, prediction_type="v_prediction", clip_sample=False,
        rescale_betas_zero_snr=True, timestep_spacing="trailing", set_alpha_to_one=True,
    )  # fmt: skip


def draw_noise(shape: torch.Size, groups: list[int], generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Noise of this shape, and a number in ``[0, 1)`` per clip that sets its timestep; clips of one group (0 or more) share both.

    The numbers are stratified, so that every batch covers the whole range.
    """
    distinct = list(dict.fromkeys(group if group >= 0 else -1 - row for row, group in enumerate(groups)))
    rows = [distinct.index(group if group >= 0 else -1 - row) for row, group in enumerate(groups)]
    device = generator.device
    noise = torch.randn(len(distinct), *shape[1:], generator=generator, device=device)
    uniform = (torch.arange(len(distinct), device=device) + torch.rand(len(distinct), generator=generator, device=device)) / len(distinct)
    return noise[rows], uniform[rows]


def group_contrast(error: Tensor, weight: Tensor, groups: Tensor) -> Tensor:
    """The weighted mean square of how the errors ``(b, c, f, h, w)`` of one group differ from their mean; 0 without groups.

    Clips of a group share all but the motion, so this is the error of what the motion word alone should change.

    Args:
        weight: ``(b, 1, f, h, w)``; each group takes its largest. groups: ``(b,)``; clips of less than 0 are in none.
    """
    rows = groups.unique(return_inverse=True)[1]
    count = torch.bincount(rows)
    mean = error.new_zeros(len(count), *error.shape[1:]).index_add(0, rows, error)[rows] / count[rows].view(-1, 1, 1, 1, 1)
    largest = weight.new_zeros(len(count), *weight.shape[1:]).index_reduce(0, rows, weight, "amax")[rows]
    largest = largest * (groups >= 0).view(-1, 1, 1, 1, 1)
    return (largest * (error - mean).square()).sum() / (largest.sum() * error.shape[1]).clamp(min=1)


class PretrainTextToVideo(L.LightningModule):
    """Trains a small ``UNet3DConditionModel`` and its text encoder on latents, and saves a diffusers folder.

    Args:
        output: folder with the trained ``vae/``; receives ``unet/``, ``text_encoder/``, ``tokenizer/`` and ``scheduler/``.
        channels: width per level. plain: how many levels, from the widest picture on, have no attention.
        head_dim: width of an attention head. text_width: width of the text encoder.
        ema: decay of the weights' moving average; the average is what is saved.
        start: folder of earlier weights of the same shape to go on from, such as the shipped ones.
        noise_power: timesteps are drawn as ``1000 u**(1 / noise_power)``, u uniform; above 1 the noisy steps, where
            the layout of the whole clip is decided, are seen more often.
        words_from: least timestep of clips in groups, whose captions differ in the motion alone: there the words must tell it.
        word_scale: root mean square to which the words' embeddings are drawn when training starts from nothing. At the usual 0.02
            the first layer's output drowns them, next to no gradient comes back, and motion words are never learned.
        contrast: weight of :func:`group_contrast` in the loss.
        emphasis: how much more an error counts in the cells that the object touches (1: twice as much).
        decay: share of all steps, at their end, over which the learning rate falls to nothing.
    """

    def __init__(
        self, output: str, channels: tuple[int, ...] = (48, 64, 96), plain: int = 0, latent_channels: int = 4, latent_size: int = 16,
        head_dim: int = 8, text_width: int = 64, text_layers: int = 2, lr: float = 4e-3, ema: float = 0.995, weight_decay: float = 1e-2,
        start: str | None = None, noise_power: float = 1.2, words_from: int = 900, word_scale: float = 1.0,
        emphasis: float = 2.0, contrast: float = 0.0, decay: float = 0.3,
    ) -> None:  # fmt: skip
        super().__init__()
        self.save_hyperparameters()
        self.tokenizer = build_tokenizer()
        self.scheduler = build_scheduler()
        model = torch.nn.ModuleDict({
            "unet": build_unet(channels, latent_channels, latent_size, text_width, head_dim, plain),
            "text_encoder": CLIPTextModel(text_config(self.tokenizer, text_width, text_layers)),
        })  # fmt: skip
        if start:
            model["unet"].load_state_dict(UNet3DConditionModel.from_pretrained(Path(start) / "unet").state_dict())
            model["text_encoder"].load_state_dict(CLIPTextModel.from_pretrained(Path(start) / "text_encoder").state_dict())
        else:
            encoder: Any = model["text_encoder"]
            redraw_words(encoder, word_scale)
        self.model = model
        self.average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(ema)).requires_grad_(False)

    def embed(self, model: Any, captions: list[str]) -> Tensor:
        """Token features ``(b, n, c)`` of the captions."""
        tokens = self.tokenizer(captions, padding="max_length", max_length=MAX_TOKENS, truncation=True, return_tensors="pt").input_ids
        return model["text_encoder"](tokens.to(self.device)).last_hidden_state

    def training_step(self, batch: dict[str, Any], index: int) -> Tensor:
        clean = rearrange(batch["latents"], "b f c h w -> b c f h w")
        # Ranks share a seed; each takes its own noise.
        generator = torch.Generator(self.device).manual_seed(self.global_step * self.trainer.world_size + self.global_rank)
        noise, uniform = draw_noise(clean.shape, batch["group"].tolist(), generator)
        least = torch.where(batch["group"] >= 0, self.hparams["words_from"], 0).to(clean)
        steps = (least + uniform ** (1 / self.hparams["noise_power"]) * (1000 - least)).long().clamp(max=999)
        noisy = self.scheduler.add_noise(clean, noise, steps)
        target = self.scheduler.get_velocity(clean, noise, steps)
        unet: Any = self.model["unet"]
        with as_image_model(unet) if clean.shape[2] == 1 else nullcontext():
            predicted = unet(noisy, steps, self.embed(self.model, batch["caption"])).sample
        weight = 1 + self.hparams["emphasis"] * batch["object"][:, None]
        error = predicted - target
        loss = (weight * error.square()).sum() / (weight.sum() * clean.shape[1])
        if self.hparams["contrast"]:
            loss = loss + self.hparams["contrast"] * group_contrast(error, weight, batch["group"])
        self.log(f"train/loss_{clean.shape[2]}_frames", loss, prog_bar=True)
        return loss

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        super().optimizer_step(*args, **kwargs)
        self.average.update_parameters(self.model)

    def on_fit_start(self) -> None:
        if self.hparams["start"] is None and self.global_step == 0:
            for model in (self.model, self.average.module):
                start_as_identity(model["unet"])  # type: ignore[index]

    def on_train_epoch_end(self) -> None:
        if self.trainer.is_global_zero:
            self.save(Path(self.hparams["output"]))
            if self.current_epoch % 5 == 4 and self.logger is not None:
                self.preview()

    @torch.no_grad()
    def preview(self, steps: int = 15, guidance: float = 3.0) -> None:
        """Generates :data:`PREVIEW` with the averaged weights and shows eight frames of each in TensorBoard."""
        model: Any = self.average.module
        unet = model["unet"]
        text = self.embed(model, [""] * len(PREVIEW) + list(PREVIEW))
        scheduler = copy.deepcopy(self.scheduler)
        scheduler.set_timesteps(steps)
        shape = (len(PREVIEW), self.hparams["latent_channels"], 16, self.hparams["latent_size"], self.hparams["latent_size"])
        latents = torch.randn(shape, generator=torch.Generator().manual_seed(0)).to(self.device)
        for step in scheduler.timesteps:
            free, conditional = unet(torch.cat([latents, latents]), step, text).sample.chunk(2)
            latents = scheduler.step(free + guidance * (conditional - free), step, latents).prev_sample
        vae: Any = AutoencoderKL.from_pretrained(Path(self.hparams["output"]) / "vae").to(self.device)
        frames = vae.decode(rearrange(latents[:, :, ::2], "b c f h w -> (b f) c h w") / vae.config.scaling_factor).sample
        sheet = rearrange(frames.clamp(-1, 1), "(b f) c h w -> c (b h) (f w)", b=len(PREVIEW)).add(1).div(2)
        writer: Any = self.logger.experiment  # type: ignore[union-attr]
        writer.add_image("generated", sheet, self.global_step)

    def save(self, folder: Path) -> None:
        """Writes the averaged weights as a diffusers folder in half precision."""
        model: Any = copy.deepcopy(self.average.module).half()
        model["unet"].save_pretrained(folder / "unet")
        # transformers keeps the precision of the file, diffusers reads into float32: a pipeline needs one for both.
        model["text_encoder"].float().save_pretrained(folder / "text_encoder")
        self.tokenizer.save_pretrained(folder / "tokenizer")
        self.scheduler.save_pretrained(folder / "scheduler")
        index = {
            "_class_name": "TextToVideoSDPipeline",
            "unet": ["diffusers", "UNet3DConditionModel"],
            "vae": ["diffusers", "AutoencoderKL"],
            "text_encoder": ["transformers", "CLIPTextModel"],
            "tokenizer": ["transformers", "CLIPTokenizer"],
            "scheduler": ["diffusers", "DDIMScheduler"],
        }
        write_json(folder / "model_index.json", index)

    def configure_optimizers(self) -> Any:
        optimizer = MuonAdamW(self.model, lr=self.hparams["lr"], weight_decay=self.hparams["weight_decay"])
        total = int(self.trainer.max_steps)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: trapezoid(step, total, self.hparams["decay"]))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}
