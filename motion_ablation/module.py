"""The LightningModule: the training sentence and the generating sentence."""

from __future__ import annotations

import hashlib
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import lightning as L
import torch
from torch import Tensor

from motion_ablation.backbones import BACKBONES, Backbone, Posterior
from motion_ablation.cache.addresses import motion_entries
from motion_ablation.cache.artefacts import Artefacts, Tensors, checksum, content_hash
from motion_ablation.cache.code import code_of
from motion_ablation.data.reference import Batch
from motion_ablation.initial_noise import INITIAL_NOISES
from motion_ablation.motion import MotionConfig, MotionEmbeddings
from motion_ablation.objectives import OBJECTIVES
from motion_ablation.objectives.base import mean_squared_error
from motion_ablation.records import Cell, Clip, Sample, Site


@dataclass
class BackboneConfig:
    """The frozen model: a registered class of backbone, and where its weights are.

    Attributes:
        name: entry of the backbone registry. source: ``shapes``, a diffusers folder, or a hub id.
        options: further options of that entry, such as ``{dtype: float16, vae_slicing: true}``.
    """

    name: str = "unet3d"
    source: str = "shapes"
    options: dict[str, Any] = field(default_factory=dict)


@dataclass
class OptimizerConfig:
    """AdamW, as in the paper.

    Attributes:
        lr: learning rate of the embeddings. weight_decay: as in AdamW.
        integration_lr: learning rate of an integration's own weights, such as concatenation's projection.
        adapter_lr: learning rate of changes of the backbone's weights: ``motion.adapter``, the hybrid objective's LoRA.
    """

    lr: float = 0.02
    weight_decay: float = 0.01
    integration_lr: float = 0.001
    adapter_lr: float = 0.0005


@dataclass
class SamplingConfig:
    """How videos are generated.

    Attributes:
        steps: DDIM steps. guidance: classifier-free guidance; 1 is none. negative_prompt: text of the other branch.
        inversion_steps: DDIM inversion steps of the reference, with an empty prompt and no guidance.
        noises: options of initial noises, by name, such as ``{blend: {rho: 0.5}}``.
    """

    steps: int = 30
    guidance: float = 12.0
    negative_prompt: str = ""
    inversion_steps: int = 50
    noises: dict[str, dict[str, Any]] = field(default_factory=dict)

    def check(self) -> None:
        """Raises ``ValueError`` naming the key that cannot work."""
        for key in ("steps", "inversion_steps"):
            if not 1 <= getattr(self, key) <= 1000:
                raise ValueError(f"sampling.{key} must be from 1 to 1000, not {getattr(self, key)}")
        if self.guidance < 1:
            raise ValueError(f"sampling.guidance must be at least 1 (no guidance), not {self.guidance}")
        for name, options in self.noises.items():
            INITIAL_NOISES.parse({"name": name, **options}, "sampling.noises")
            INITIAL_NOISES.build(name, **options)


@lru_cache(maxsize=1)
def _load(name: str, source: str, options: tuple[tuple[str, Any], ...]) -> Backbone:
    backbone: Backbone = BACKBONES.build(name, source=source, **dict(options))
    return backbone


def load_backbone(config: BackboneConfig) -> Backbone:
    """The frozen model, loaded once per process for as long as the configuration stays the same."""
    try:
        backbone = _load(config.name, config.source, tuple(sorted(config.options.items())))
    except TypeError as error:
        raise ValueError(f"model.backbone.options: {config.options} cannot be used: {error}") from error
    backbone.until_backward.close()  # what a failed step may have left
    return backbone


def cell_seed(cell: Cell) -> int:
    """Seed of a cell's fresh noise: the same for every experiment, so that differences are paired on common noise."""
    return int.from_bytes(hashlib.sha256(f"{cell.seed} {cell.prompt}".encode()).digest()[:7], "big")


@dataclass(frozen=True)
class Prepared:
    """What is computed once per reference: its latents, its caption's embedding, and where motion can be attached."""

    clip: Clip
    posterior: Posterior
    caption: Tensor
    sites: list[Site]
    recipe: dict[str, Any]


class Generated:
    """What :meth:`MotionInversion.predict_step` returns: not a collection, so that the Trainer passes it on as it is."""

    def __init__(self, samples: list[Sample]) -> None:
        self.samples = samples


class MotionInversion(L.LightningModule):
    """Learns motion embeddings on one reference video and generates new videos with them (arXiv 2403.20193).

    Args:
        backbone: the frozen model. motion: the embedding's streams; ``null`` is the plain backbone.
        objective: ``{name: ..., **options}`` of the training loss. optimizer, sampling: see their classes.
        embedding: a trained ``motion.safetensors`` to start from, or to generate with; it brings its own ``motion``.
        cache: folder, or fsspec URL such as ``s3://bucket/cache``, for all that is computed once: latents, noises, embeddings, videos.

    Attributes:
        keeps_videos: keep what :meth:`generate` makes in ``cache`` too, and take from there what was made before.
    """

    def __init__(
        self,
        backbone: BackboneConfig = BackboneConfig(),
        motion: MotionConfig | None = None,
        objective: dict[str, Any] = {"name": "denoising"},  # noqa: B006
        optimizer: OptimizerConfig = OptimizerConfig(),
        sampling: SamplingConfig = SamplingConfig(),
        embedding: str | None = None,
        cache: str = "cache",
    ) -> None:
        super().__init__()
        self.motion_config = motion or MotionConfig()
        self.motion_config.check()
        sampling.check()
        self.objective_name, options = OBJECTIVES.parse(objective, "model.objective")
        BACKBONES.parse({"name": backbone.name, "source": backbone.source, **backbone.options}, "model.backbone")
        self.objective = OBJECTIVES.build(self.objective_name, **options)
        self.optimizer_config, self.sampling = optimizer, sampling
        self.artefacts = Artefacts(cache)
        self.keeps_videos = False
        self.motion: MotionEmbeddings | None = MotionEmbeddings.load(embedding) if embedding else None
        if self.motion is not None:
            self.motion_config = self.motion.config
        self.backbone = load_backbone(backbone)
        self.strict_loading = False
        if self.backbone.recomputes and self.objective.trains_frames:
            raise ValueError(f"objective '{self.objective_name}' runs the network twice a step: turn gradient_checkpointing off")
        self._prepared: dict[str, Prepared] = {}

    def setup(self, stage: str) -> None:
        """Makes the embeddings for the clips of the data module. Raises ``ValueError`` for a precision that would cast what is trained."""
        if self._precision().get("precision") in ("16-true", "bf16-true"):
            raise ValueError(
                f"trainer.precision {self.trainer.precision} would train in half precision; set model.backbone.options: {{dtype: bfloat16}}"
            )
        self.objective.prepare(self.backbone.denoiser)
        if self.motion is None:
            window = self.trainer.datamodule.dataset.window  # type: ignore[attr-defined]
            self.make_motion(window.frames, *window.shape)

    def make_motion(self, frames: int, height: int, width: int) -> None:
        """Creates fresh embeddings for clips of this length and size in pixels."""
        self.motion = MotionEmbeddings(self.motion_config, self.backbone.sites(frames, height, width)).to(self.device)

    @property
    def embeddings(self) -> MotionEmbeddings:
        """The trainable module. Raises ``RuntimeError`` before :meth:`setup`."""
        if self.motion is None:
            raise RuntimeError("the motion embeddings are made in setup(), which knows the clips' size")
        return self.motion

    # The training sentence.

    def prepare(self, clip: Clip) -> Prepared:
        """Latents and caption embedding of a reference, computed once and kept on disk."""
        known = self._prepared.get(clip.name)
        if known is None or known.clip.caption != clip.caption or not torch.equal(known.clip.frames, clip.frames):
            frames, _, height, width = clip.frames.shape
            code = code_of("latents", type(self.backbone))
            recipe = {"code": code, "backbone": self.backbone.fingerprint, "frames": content_hash(clip.frames), "caption": clip.caption}
            recipe |= self._precision()
            stored = self.artefacts.get("latents", recipe, lambda: self._encode(clip))
            stored = {name: tensor.to(self.device) for name, tensor in stored.items()}
            posterior = Posterior(stored["mean"], stored["std"])
            known = Prepared(clip, posterior, stored["caption"], self.backbone.sites(frames, height, width), recipe)
            self._prepared[clip.name] = known
        return known

    def _precision(self) -> dict[str, str]:
        """The trainer's precision as a part of an address, where it is not the usual one."""
        precision = str(self.trainer.precision) if self._trainer else "32-true"
        return {} if precision == "32-true" else {"precision": precision}

    def _encode(self, clip: Clip) -> dict[str, Tensor]:
        posterior = self.backbone.encode(clip.frames)
        return {"mean": posterior.mean, "std": posterior.std, "caption": self.backbone.embed([clip.caption])}

    def step_generator(self, index: int) -> torch.Generator:
        """Randomness of one training step, set by the run's seed and the step alone: a resumed run draws what it would have drawn."""
        part = index % self.trainer.accumulate_grad_batches if self._trainer else index
        step = f"{torch.initial_seed()} {self.global_step} {part} {self.global_rank}"
        return torch.Generator().manual_seed(int.from_bytes(hashlib.sha256(step.encode()).digest()[:7], "big"))

    def training_step(self, clip: Clip, index: int) -> Tensor | None:
        self.backbone.until_backward.close()
        if self.embeddings.parameter_count == 0:
            return None
        ready, denoiser = self.prepare(clip), self.backbone.denoiser
        generator = self.step_generator(index)
        noisy, timestep, target = self.noised(ready.posterior, generator)
        with ExitStack() as stack:
            stack.enter_context(self.embeddings.attached(denoiser, ready.sites))
            stack.enter_context(self.objective.attached(denoiser, learning=False))
            predicted = self.backbone.denoise(noisy, timestep, ready.caption)
            if self.backbone.recomputes:
                self.backbone.until_backward = stack.pop_all()
        loss: Tensor = self.objective(predicted, target, generator)
        if self.objective.trains_frames:
            frame = torch.randint(noisy.shape[2], (1,), generator=generator).to(noisy.device)
            with self.objective.attached(denoiser, learning=True):
                predicted = self.backbone.denoise(noisy[:, :, frame], timestep, ready.caption)
            loss = loss + mean_squared_error(predicted, target[:, :, frame])
        if not torch.isfinite(loss):
            self.backbone.until_backward.close()
            raise FloatingPointError(
                f"the loss is {loss.item()} at step {self.global_step}; "
                f"lower model.optimizer.lr (now {self.optimizer_config.lr}) or train in 32-bit precision"
            )
        self.log("train/loss", loss, prog_bar=True, batch_size=1)
        return loss

    def noised(self, posterior: Posterior, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        """A training example: noisy latents ``(1, c, f, h, w)``, their timestep ``(1,)``, uniform, and what the network should output."""
        scheduler, clean = self.backbone.scheduler, posterior.sample(generator)
        noise = torch.randn(clean.shape, generator=generator).to(clean)
        timestep = torch.randint(scheduler.config.num_train_timesteps, (1,), generator=generator).to(clean.device)
        return scheduler.add_noise(clean, noise, timestep), timestep, self.backbone.target(clean, noise, timestep)

    def on_after_backward(self) -> None:
        self.backbone.until_backward.close()

    def configure_optimizers(self) -> Any:
        config = self.optimizer_config
        rates: dict[float, list[Tensor]] = {}
        for name, parameter in self.embeddings.named_parameters():
            rate = config.adapter_lr if name.startswith("adapters.") else config.integration_lr if ".integration." in name else config.lr
            rates.setdefault(rate, []).append(parameter)
        if rates:
            rates.setdefault(config.adapter_lr, []).extend(self.objective.parameters())
        groups = [{"params": parameters, "lr": rate} for rate, parameters in rates.items() if parameters]
        return torch.optim.AdamW(groups, lr=config.lr, weight_decay=config.weight_decay) if groups else None

    # The generating sentence.

    @torch.no_grad()
    def inverted_noise(self, clip: Clip) -> Tensor:
        """DDIM inversion of the reference on the bare backbone, computed once and kept on disk."""
        self.backbone.until_backward.close()
        ready, steps = self.prepare(clip), self.sampling.inversion_steps
        empty = self.backbone.embed([""])
        invert = lambda: {"noise": self.backbone.invert(ready.posterior.mean, empty, steps)}  # noqa: E731
        return self.artefacts.get("inverted", self._inversion_recipe(clip), invert)["noise"].to(self.device)

    def _inversion_recipe(self, clip: Clip) -> dict[str, Any]:
        """All that determines the inverted noise: the latents without the caption, and the steps."""
        latents = {key: value for key, value in self.prepare(clip).recipe.items() if key != "caption"}
        code, steps = code_of("inverted", type(self.backbone)), self.sampling.inversion_steps
        return {"code": code, "latents": latents, "steps": steps, **self._precision()}

    @torch.no_grad()
    def initial_latents(self, clip: Clip, cells: list[Cell]) -> Tensor:
        """Where the cells of a clip start from, ``(b, c, f, h, w)``."""
        shape = self.backbone.latent_shape(len(clip.frames), *clip.frames.shape[-2:])
        draws = [torch.randn(shape, generator=torch.Generator().manual_seed(cell_seed(cell))) for cell in cells]
        strategy = INITIAL_NOISES.build(cells[0].noise, **self.sampling.noises.get(cells[0].noise, {}))
        inverted = self.inverted_noise(clip) if strategy.needs_inversion else None
        return strategy(torch.stack(draws).to(self.device), inverted)

    def generate(self, clip: Clip, cells: list[Cell]) -> list[Sample]:
        """New videos with the motion of a clip, for cells that share an initial noise, in one batch, motion in both branches.

        Frames are whole steps of 1/255: a video that was kept scores exactly as it did when it was made. A cell generated in another batch
        is the same up to floating-point noise, which may flip a rounding: a few pixels may differ by one step.

        Raises:
            FloatingPointError: if a video is not finite.
        """
        if not cells:
            return []  # of several processes, one may have no cell left
        if self.keeps_videos:
            make = lambda missing: [{"frames": video} for video in self._pixels(clip, [cells[index] for index in missing])]  # noqa: E731
            kept: list[Tensors] = self.artefacts.get_all("videos", self._video_recipes(clip, cells), make)
            videos = [tensors["frames"].to(self.device) for tensors in kept]
        else:
            videos = list(self._pixels(clip, cells))
        return [Sample(video.float() / 255, clip, cell.prompt, cell.seed, cell.noise) for video, cell in zip(videos, cells, strict=True)]

    @torch.no_grad()
    def _pixels(self, clip: Clip, cells: list[Cell]) -> Tensor:
        """The generated videos as bytes, ``(b, f, 3, h, w)``."""
        self.backbone.until_backward.close()
        ready, sampling = self.prepare(clip), self.sampling
        text = self.backbone.embed([cell.prompt for cell in cells])
        negative = self.backbone.embed([sampling.negative_prompt])
        noise = self.initial_latents(clip, cells)
        with self.embeddings.attached(self.backbone.denoiser, ready.sites, generating=True):
            latents = self.backbone.generate(noise, text, negative, sampling.steps, sampling.guidance)
        videos = self.backbone.decode(latents)
        if not torch.isfinite(videos).all():
            raise FloatingPointError(
                f"a generated video is not finite (prompt: {cells[0].prompt!r}); lower model.optimizer.lr (now {self.optimizer_config.lr}) "
                "or generate in 32-bit precision"
            )
        return (videos * 255).round().byte()

    def _video_recipes(self, clip: Clip, cells: list[Cell]) -> list[dict[str, Any]]:
        """All that determines the videos of a clip's cells that share an initial noise. The reference itself counts only where the
        initial noise is made of it: what is learnt from it is in the embedding's own tensors."""
        name = cells[0].noise
        noise, motion, sampling = INITIAL_NOISES[name], self.embeddings, self.sampling
        shared = {
            "code": code_of("video", type(self.backbone), noise, *motion_entries(motion.config)),
            "backbone": self.backbone.fingerprint,
            "motion": [motion.config.to_dict(), checksum(motion.state_dict())] if motion.parameter_count else [],
            "shape": list(self.backbone.latent_shape(len(clip.frames), *clip.frames.shape[-2:])),
            "sampling": [sampling.steps, sampling.guidance, sampling.negative_prompt],
            "noise": [name, sampling.noises.get(name, {}), self._inversion_recipe(clip) if noise.needs_inversion else {}],
            **self._precision(),
        }
        return [{**shared, "prompt": cell.prompt, "seed": cell.seed} for cell in cells]

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

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        saved = checkpoint.get("motion")
        if saved is not None and saved != self.embeddings.config.to_dict():
            raise ValueError("this checkpoint was trained with another model.motion; run with the configuration that made it")
        trained = [name for name in self.state_dict() if not name.startswith("backbone.")]
        missing = [name for name in trained if name not in checkpoint["state_dict"]]
        if missing:
            raise ValueError(
                f"this checkpoint lacks {len(missing)} of the {len(trained)} trained tensors, such as {missing[0]}; train again"
            )
