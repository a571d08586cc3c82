"""The LightningModule: joins the training sentence and the generating sentence."""

from __future__ import annotations

from typing import Any

import lightning as L
import torch
from torch import Tensor

from motion_ablation.backbones import BACKBONES
from motion_ablation.backbones.load import BackboneConfig, load_backbone
from motion_ablation.cache.artefacts import Artefacts
from motion_ablation.data.reference import Batch
from motion_ablation.generating import Generating, SamplingConfig
from motion_ablation.latents import Latents
from motion_ablation.motion import MotionConfig, MotionEmbeddings
from motion_ablation.motion.adapters import APPEARANCES, Appearance
from motion_ablation.objectives import OBJECTIVES
from motion_ablation.records import Cell, Clip, Sample
from motion_ablation.training import LATENTS, OptimizerConfig, Training, step_generator

CLIP_KEYS = ("references", "reference", "frames", "size", "fps", "start", "crop", "caption")
"""Of the data module: what decides which clips it trains on."""


class Generated:
    """What :meth:`MotionInversion.predict_step` returns: not a collection, so that the Trainer passes it on as it is."""

    def __init__(self, samples: list[Sample]) -> None:
        self.samples = samples


class MotionInversion(L.LightningModule):
    """Learns motion embeddings on one reference video and generates new videos with them (arXiv 2403.20193).

    Args:
        backbone: the frozen model. motion: the embedding's streams; ``null`` is the plain backbone.
        objective: ``{name: ..., **options}`` of the training loss. optimizer, sampling: see their classes.
        appearance: ``{name: ..., **options}`` of what learns the reference's looks in training and is gone at inference, or ``null``.
        latents: ``fresh``: another sample of the autoencoder's posterior in each training step; ``kept``: the same in all.
        timesteps_from: train on timesteps from here on: motion is decided where there is much noise. 0 trains on all, as the paper.
        embedding: a trained ``motion.safetensors`` to start from, or to generate with; it brings its own ``motion``.
        cache: folder, or fsspec URL such as ``s3://bucket/cache``, for all that is computed once: latents, noises, embeddings, videos.

    Attributes:
        left_out: the ends of captions and prompts that the backbone cannot take, by text.
        keeps_videos: keep what :meth:`generate` makes in ``cache`` too, and take from there what was made before.
    """

    def __init__(
        self,
        backbone: BackboneConfig = BackboneConfig(),
        motion: MotionConfig | None = None,
        objective: dict[str, Any] = {"name": "denoising"},  # noqa: B006
        optimizer: OptimizerConfig = OptimizerConfig(),
        sampling: SamplingConfig = SamplingConfig(),
        appearance: dict[str, Any] | None = None,
        latents: str = "fresh",
        timesteps_from: float = 0,
        embedding: str | None = None,
        cache: str = "cache",
    ) -> None:
        super().__init__()
        self.motion_config = motion or MotionConfig()
        self.motion_config.check()
        sampling.check()
        if latents not in LATENTS:
            raise ValueError(f"model.latents: '{latents}' is not one of {', '.join(LATENTS)}")
        self.objective_name, options = OBJECTIVES.parse(objective, "model.objective")
        self.objective = OBJECTIVES.build(self.objective_name, **options)
        self.objective_config = {"name": self.objective_name, **options}
        if appearance is not None:
            name, options = APPEARANCES.parse(appearance, "model.appearance")
            APPEARANCES[name].check(**options)
        BACKBONES.parse({"name": backbone.name, "source": backbone.source, **backbone.options}, "model.backbone")
        if self.motion_config.trains and not embedding:
            self.motion_config.sites.check_stages(BACKBONES[backbone.name].stages)
        self.optimizer_config, self.sampling, self.appearance_config, self.latents = optimizer, sampling, appearance, latents
        self.timesteps_from = timesteps_from
        self.keeps_videos = False
        self.left_out: dict[str, str] = {}
        self.motion: MotionEmbeddings | None = MotionEmbeddings.load(embedding) if embedding else None
        if self.motion is not None:
            self.motion_config = self.motion.config
        self.appearance: Appearance | None = None
        self.backbone = load_backbone(backbone)
        self.artefacts = Artefacts(cache)
        self.references = Latents(self.backbone, self.artefacts, self.precision)
        self.strict_loading = False

    def precision(self) -> str:
        """The trainer's precision; ``32-true`` without a trainer."""
        return str(self.trainer.precision) if self._trainer else "32-true"

    def setup(self, stage: str) -> None:
        """Makes what is trained, for the clips of the data module. Raises ``ValueError`` for a precision that would cast it."""
        if self.precision() in ("16-true", "bf16-true"):
            raise ValueError(
                f"trainer.precision {self.trainer.precision} would train in half precision; set model.backbone.options: {{dtype: bfloat16}}"
            )
        data: Any = getattr(self.trainer, "datamodule", None)
        if data is not None:
            self.left_out = self.backbone.left_out(data.texts)
            if self.backbone.text_fingerprint:  # all of them now, while the network is not on its device yet
                self.references.embed(sorted({*data.texts, self.sampling.negative_prompt, ""}))
        if self.motion is None or (self.appearance_config and self.appearance is None):
            window = data.dataset.window
            self.make_motion(window.frames, *window.shape)

    def make_motion(self, frames: int, height: int, width: int) -> None:
        """Creates what is trained and not there yet, for clips of this length and size in pixels."""
        sites = self.backbone.sites(frames, height, width)
        if self.appearance_config and self.appearance is None:
            spec = {"denoiser": self.backbone.denoiser, "temporal": [site.name for site in sites], **self.appearance_config}
            self.appearance = APPEARANCES.build(spec.pop("name"), **spec).to(self.device)
        if self.motion is None:
            self.motion = MotionEmbeddings(self.motion_config, sites).to(self.device)

    @property
    def embeddings(self) -> MotionEmbeddings:
        """What is learnt of the motion. Raises ``RuntimeError`` before :meth:`setup`."""
        if self.motion is None:
            raise RuntimeError("the motion embeddings are made in setup(), which knows the clips' size")
        return self.motion

    # Training.

    def training_step(self, clip: Clip, index: int) -> Tensor | None:
        if self.embeddings.parameter_count == 0:
            return None
        training = Training(self.backbone, self.embeddings, self.objective, self.appearance, self.latents, self.timesteps_from)
        loss = training.loss(self.references.of(clip), self.step_generator(clip.name, index))
        if not torch.isfinite(loss):
            raise FloatingPointError(
                f"the loss is {loss.item()} at step {self.global_step}; "
                f"lower model.optimizer.lr (now {self.optimizer_config.lr}) or train in 32-bit precision"
            )
        self.log("train/loss", loss, prog_bar=True, batch_size=1)
        return loss

    def step_generator(self, reference: str, index: int) -> torch.Generator:
        """Randomness of the training step on batch ``index``, which shows this reference."""
        part = index % self.trainer.accumulate_grad_batches if self._trainer else index
        return step_generator(reference, self.global_step, part, self.global_rank)

    def configure_optimizers(self) -> Any:
        if self.embeddings.parameter_count == 0:
            return None
        return self.optimizer_config.make(self.embeddings, *([self.appearance] if self.appearance else []))

    # Generating.

    @property
    def generating(self) -> Generating:
        """How this module generates, with the embeddings as they are now."""
        return Generating(self.references, self.embeddings, self.sampling)

    def generate(self, clip: Clip, cells: list[Cell]) -> list[Sample]:
        """New videos for cells of this reference that share an initial noise, in one batch; see :meth:`Generating.samples`."""
        return self.generating.samples(clip, cells, self.keeps_videos)

    def validation_step(self, batch: Batch, _: int) -> dict[str, list[Sample]]:
        return {"samples": self.generate(batch.clip, batch.cells)}

    def test_step(self, batch: Batch, _: int) -> dict[str, list[Sample]]:
        return {"samples": self.generate(batch.clip, batch.cells)}

    def predict_step(self, batch: Batch, _: int) -> Generated:
        return Generated(self.generate(batch.clip, batch.cells))

    # The checkpoint holds what was trained, not the frozen model.

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["state_dict"] = {name: t for name, t in checkpoint["state_dict"].items() if not name.startswith("backbone.")}
        checkpoint["motion"] = self.embeddings.config.to_dict()
        checkpoint["settings"] = self._settings()

    def _settings(self) -> dict[str, Any]:
        """By key, what a resumed training must have in common with the first part, as text."""
        found = {f"model.optimizer.{key}": value for key, value in vars(self.optimizer_config).items()}
        found |= {"model.objective": self.objective_config, "model.latents": self.latents, "model.timesteps_from": self.timesteps_from}
        found |= {"model.appearance": self.appearance_config, "model.backbone": self.backbone.fingerprint}
        data: Any = getattr(self.trainer, "datamodule", None) if self._trainer else None
        if data is not None:
            found |= {f"data.{key}": data.hparams[key] for key in CLIP_KEYS if key in data.hparams}
        return {key: str(value) for key, value in found.items()}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        saved = checkpoint.get("motion")
        if saved is not None and saved != self.embeddings.config.to_dict():
            raise ValueError("this checkpoint was trained with another model.motion; run with the configuration that made it")
        training = self._trainer is not None and self.trainer.state.fn == "fit"
        before = checkpoint.get("settings", {}) if training else {}
        changed = [f"{key} {before[key]}, not {value}" for key, value in self._settings().items() if before.get(key, value) != value]
        if changed:
            raise ValueError(f"this checkpoint was trained with {'; '.join(changed)}; go on with these, or train anew without --ckpt_path")
        trained = [name for name in self.state_dict() if not name.startswith("backbone.")]
        missing = [name for name in trained if name not in checkpoint["state_dict"]]
        if missing:
            raise ValueError(
                f"this checkpoint lacks {len(missing)} of the {len(trained)} trained tensors, such as {missing[0]}; train again"
            )
