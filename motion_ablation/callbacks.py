"""Callbacks: metrics at validation, videos, and the run's files. Each reads the samples that a step generated once."""

from __future__ import annotations

import inspect
import io
import json
import os
import platform
import time
from importlib.metadata import version
from itertools import chain
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import torch
from einops import rearrange
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import TensorBoardLogger
from PIL import Image, ImageDraw
from torch import Tensor
from torch.utils.tensorboard import SummaryWriter
from torchmetrics.utilities import dim_zero_sum

from motion_ablation.artefacts import Artefacts, Tensors, content_hash, files_hash
from motion_ablation.data.segmentation import against_truth
from motion_ablation.data.video import write_gif, write_video
from motion_ablation.metrics import METRICS
from motion_ablation.motion.config import named
from motion_ablation.records import Sample
from motion_ablation.steps import code_of

SHAPES_CLIP = Path(__file__).parent / "weights" / "shapes" / "clip"  # what metrics call shapes


def run_folder(trainer: L.Trainer) -> Path:
    """Where a run writes: its logger's folder, else the trainer's root."""
    folder = trainer.logger.log_dir if isinstance(trainer.logger, TensorBoardLogger) else None
    return Path(folder or trainer.default_root_dir)


def cell_of(sample: Sample) -> dict[str, Any]:
    """What determines a sample, for a table's row."""
    return {"reference": sample.reference.name, "prompt": sample.prompt, "seed": sample.seed, "noise": sample.noise}


def gathered(rows: list[dict[str, Any]], trainer: L.Trainer) -> list[dict[str, Any]]:
    """The rows of all processes, given to each, in the order in which one process makes them; every process must ask."""
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return rows
    shares: list[Any] = [None] * torch.distributed.get_world_size()
    torch.distributed.all_gather_object(shares, rows)
    order = {cell: place for place, cell in enumerate(trainer.datamodule.cells)}  # type: ignore[attr-defined]
    return sorted(chain.from_iterable(shares), key=lambda row: order[row["reference"], row["prompt"], row["seed"], row["noise"]])


class SampleCallback(Callback):
    """A callback that sees every generated sample, at validation and test alike."""

    def on_samples(self, trainer: L.Trainer, module: Any, samples: list[Sample]) -> None:
        """Called once per batch of generated videos."""

    def start(self, trainer: L.Trainer, module: Any) -> None:
        """Called before the first batch."""

    def end(self, trainer: L.Trainer, module: Any, stage: str) -> None:
        """Called after the last batch; ``stage`` is ``val`` or ``test``."""

    def on_validation_epoch_start(self, trainer: L.Trainer, pl_module: Any) -> None:
        self.start(trainer, pl_module)

    def on_test_epoch_start(self, trainer: L.Trainer, pl_module: Any) -> None:
        self.start(trainer, pl_module)

    def on_validation_batch_end(self, trainer: L.Trainer, pl_module: Any, outputs: Any, *args: Any) -> None:
        if outputs["samples"]:  # one of several processes may have nothing left to generate
            self.on_samples(trainer, pl_module, outputs["samples"])

    def on_test_batch_end(self, trainer: L.Trainer, pl_module: Any, outputs: Any, *args: Any) -> None:
        self.on_validation_batch_end(trainer, pl_module, outputs, *args)

    def on_validation_epoch_end(self, trainer: L.Trainer, pl_module: Any) -> None:
        self.end(trainer, pl_module, "val")

    def on_test_epoch_end(self, trainer: L.Trainer, pl_module: Any) -> None:
        self.end(trainer, pl_module, "test")


def metric_version(metric: dict[str, Any]) -> list[Any]:
    """All that determines a metric's scores: its name and options, its code, and the content of the weights and files that these name.

    Args:
        metric: ``{name: ..., **options}`` of a registered metric.

    Raises:
        ValueError: for an unknown metric or option.
    """
    name, options = named(METRICS, metric, "MetricCallback.metric")
    defaults = {key: parameter.default for key, parameter in inspect.signature(METRICS[name]).parameters.items()}
    named_files = [value for value in (defaults | options).values() if isinstance(value, str)]
    folders = [SHAPES_CLIP if value == "shapes" else Path(value.partition(":")[2] or value).expanduser() for value in named_files]
    return [name, options, code_of("score", METRICS[name]), [files_hash(folder) for folder in folders]]


class MetricCallback(SampleCallback):
    """Computes one metric at validation, separately for each initial noise, and logs ``val/<noise>/<metric>``.

    Args:
        metric: ``{name: ..., **options}`` of a registered metric.

    Attributes:
        rows: one row per scored sample of the last validation: its cell, and the score under the metric's name.
    """

    def __init__(self, metric: dict[str, Any]) -> None:
        self.name, self.options = named(METRICS, metric, "MetricCallback.metric")
        self.states: dict[str, Any] = {}
        self.rows: list[dict[str, Any]] = []
        self.values: dict[str, float] = {}

    @property
    def state_key(self) -> str:
        return f"MetricCallback[{self.name}]"

    def start(self, trainer: L.Trainer, module: Any) -> None:
        self.rows = []
        noises = trainer.datamodule.hparams["noises"]  # type: ignore[attr-defined]
        for noise in noises:
            if noise not in self.states:
                self.states[noise] = METRICS.build(self.name, **self.options).to(module.device)
            self.states[noise].reset()

    def on_samples(self, trainer: L.Trainer, module: Any, samples: list[Sample]) -> None:
        state = self.states[samples[0].noise]
        keeps = getattr(module, "keeps_videos", False) and state.per_sample and set(state._reductions.values()) == {dim_zero_sum}
        scores = self._kept_scores(module.artefacts, state, samples) if keeps else state.update_samples(samples)
        if scores is not None:
            self.rows += [{**cell_of(sample), self.name: score} for sample, score in zip(samples, scores, strict=True)]

    def _kept_scores(self, artefacts: Artefacts, state: Any, samples: list[Sample]) -> list[float]:
        """The scores of a batch, measured once for the same videos; the metric's state, all sums, grows by the same either way."""
        before = state.metric_state
        reference = samples[0].reference.frames
        recipe = {
            "metric": metric_version({"name": self.name, **self.options}),
            "frames": [content_hash(sample.frames) for sample in samples],
            "reference": content_hash(reference) if "reference" in state.reads else "",
            "prompt": [sample.prompt for sample in samples] if "prompt" in state.reads else [],
        }

        def measure() -> Tensors:
            state.reset()
            scores = state.update_samples(samples)
            return {
                "scores": torch.tensor(scores, dtype=torch.float64),
                **{f"state.{name}": value for name, value in state.metric_state.items()},
            }

        kept = artefacts.get("scores", recipe, measure)
        for name, value in before.items():
            setattr(state, name, value + kept[f"state.{name}"].to(value))
        state._update_count = max(1, state._update_count)  # else torchmetrics warns that nothing was measured
        return [float(score) for score in kept["scores"]]

    def end(self, trainer: L.Trainer, module: Any, stage: str) -> None:
        self.rows = gathered(self.rows, trainer)
        self.values = {f"{noise}/{self.name}": float(state.compute()) for noise, state in self.states.items()}
        # States have synchronised already, so every rank logs the same number.
        for name, value in self.values.items():
            module.log(f"{stage}/{name}", value, rank_zero_only=True)


class TruthCallback(SampleCallback):
    """On built-in references: how far the generated object is from the true trajectory, judged by its colour.

    Logs, per initial noise, the mean ``trajectory_error`` (the frame is 2 wide; lower is better), ``direction`` (cosine
    of displacements with the true ones) and ``prompt_colors`` (share of videos that show the prompt's two colours).
    Real references have no truth and are left out.
    """

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []
        self.values: dict[str, float] = {}

    def start(self, trainer: L.Trainer, module: Any) -> None:
        self.rows = []

    def on_samples(self, trainer: L.Trainer, module: Any, samples: list[Sample]) -> None:
        for sample in samples:
            found = against_truth(sample.frames, sample.prompt, sample.reference.truth.get("center"))
            if found:
                self.rows.append({**cell_of(sample), **found})

    def end(self, trainer: L.Trainer, module: Any, stage: str) -> None:
        self.values, self.rows = {}, gathered(self.rows, trainer)
        for noise in dict.fromkeys(row["noise"] for row in self.rows):
            for name in ("trajectory_error", "direction", "prompt_colors"):
                scores = [row[name] for row in self.rows if row["noise"] == noise and name in row]
                if scores:
                    self.values[f"{noise}/{name}"] = float(np.mean(scores))
                    module.log(f"{stage}/{noise}/{name}", float(np.mean(scores)), rank_zero_only=True)


def labelled(frames: Tensor, label: str, width: int) -> Tensor:
    """Videos ``(f, 3, h, w)`` enlarged to ``width`` pixels with a strip of text above, same axes and range."""
    factor = max(1, round(width / frames.shape[-1]))
    large = frames.repeat_interleave(factor, 2).repeat_interleave(factor, 3)
    strip = Image.new("RGB", (large.shape[-1], 14), "white")
    ImageDraw.Draw(strip).text((2, 1), label[: large.shape[-1] // 6], fill="black")
    text = torch.from_numpy(np.array(strip)).permute(2, 0, 1)[None].float() / 255
    return torch.cat([text.expand(len(large), -1, -1, -1).to(large), large], 2)


def side_by_side(videos: list[tuple[str, Tensor]], width: int = 128) -> Tensor:
    """Labelled videos next to each other, cut to the shortest: ``(f, 3, h, total width)``."""
    length = min(len(frames) for _, frames in videos)
    height = videos[0][1].shape[-2:]
    resized = [
        (label, frames[:length] if frames.shape[-2:] == height else torch.nn.functional.interpolate(frames[:length], size=height))
        for label, frames in videos
    ]
    return torch.cat([labelled(frames.cpu(), label, width) for label, frames in resized], -1)


def add_gif(writer: SummaryWriter, tag: str, frames: Tensor, fps: float, step: int) -> None:
    """Adds an animated GIF as an image summary, which TensorBoard plays."""
    from tensorboard.compat.proto.summary_pb2 import Summary

    images = [Image.fromarray(image) for image in (rearrange(frames, "f c h w -> f h w c") * 255).round().byte().cpu().numpy()]
    buffer = io.BytesIO()
    images[0].save(buffer, "GIF", save_all=True, append_images=images[1:], duration=round(1000 / fps), loop=0)
    height, width = images[0].height, images[0].width
    image = Summary.Image(height=height, width=width, colorspace=3, encoded_image_string=buffer.getvalue())
    writer._get_file_writer().add_summary(Summary(value=[Summary.Value(tag=tag, image=image)]), step)


class VideoCallback(SampleCallback):
    """Shows reference and generated videos as playing GIFs in TensorBoard, and writes the same GIFs to ``videos/``.

    Args:
        limit: most generated videos shown per reference and initial noise, of those that the first process generated.
        frames: also keep every generated video, lossless, as ``frames/*.npz`` (uint8), for later scoring.
    """

    def __init__(self, limit: int = 4, frames: bool = False) -> None:
        self.limit, self.frames = limit, frames
        self._shown: dict[tuple[str, str], list[Sample]] = {}

    def start(self, trainer: L.Trainer, module: Any) -> None:
        self._shown = {}

    def on_samples(self, trainer: L.Trainer, module: Any, samples: list[Sample]) -> None:
        shown = self._shown.setdefault((samples[0].reference.name, samples[0].noise), [])
        shown += samples[: max(0, self.limit - len(shown))]
        if self.frames and not trainer.sanity_checking:
            for sample in samples:
                save_frames(run_folder(trainer) / "frames", sample)

    def end(self, trainer: L.Trainer, module: Any, stage: str) -> None:
        if trainer.sanity_checking or not trainer.is_global_zero:
            return
        for (name, noise), samples in self._shown.items():
            reference = samples[0].reference
            videos = [("reference", reference.frames)] + [(f"{s.prompt} ({s.seed})", s.frames) for s in samples]
            sheet = side_by_side(videos)
            write_gif(run_folder(trainer) / "videos" / f"{name}-{noise}.gif", sheet, reference.fps)
            for logger in trainer.loggers:
                if isinstance(logger, TensorBoardLogger):
                    add_gif(logger.experiment, f"{name}/{noise}", sheet, reference.fps, trainer.global_step)


def cell_stem(reference: str, prompt: str, seed: int, noise: str) -> str:
    """A file name for what was generated in a cell."""
    words = "-".join("".join(c if c.isalnum() else " " for c in prompt.lower()).split())
    if len(words) > 80:
        words = f"{words[:71]}-{content_hash(prompt)[:8]}"
    return f"{reference}_{words}_{seed}_{noise}"


def sample_stem(sample: Sample) -> str:
    """A file name for a sample: reference, prompt, seed and noise."""
    return cell_stem(**cell_of(sample))


def save_frames(folder: Path, sample: Sample) -> Path:
    """Keeps a sample lossless (uint8 ``(f, h, w, 3)`` under ``frames``), atomically."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{sample_stem(sample)}.npz"
    part = path.with_suffix(".part")
    with part.open("wb") as file:
        np.savez_compressed(file, frames=(rearrange(sample.frames, "f c h w -> f h w c") * 255).round().byte().cpu().numpy())
    os.replace(part, path)
    return path


class PredictionWriter(Callback):
    """Writes what ``lightning predict`` generates, one mp4 and one GIF per video, into ``predictions/``."""

    def on_predict_batch_end(self, trainer: L.Trainer, pl_module: Any, outputs: Any, *args: Any) -> None:
        folder = run_folder(trainer) / "predictions"
        for sample in outputs.samples:
            write_video(folder / f"{sample_stem(sample)}.mp4", sample.frames, sample.reference.fps)
            write_gif(folder / f"{sample_stem(sample)}.gif", sample.frames, sample.reference.fps)

    def on_predict_end(self, trainer: L.Trainer, pl_module: Any) -> None:
        print(f"videos are in {run_folder(trainer) / 'predictions'}")


class EmbeddingCallback(Callback):
    """Writes the trained embeddings to ``motion.safetensors`` when training ends, and reports their size."""

    def on_fit_start(self, trainer: L.Trainer, pl_module: Any) -> None:
        if pl_module.embeddings.parameter_count == 0:
            # Nothing learns: one short epoch leads to the validation at once.
            trainer.fit_loop.max_epochs = 1
            trainer.check_val_every_n_epoch = 1

    def on_train_end(self, trainer: L.Trainer, pl_module: Any) -> None:
        if trainer.is_global_zero and pl_module.embeddings.parameter_count and not trainer.fast_dev_run:  # type: ignore[attr-defined]
            folder = run_folder(trainer)
            folder.mkdir(parents=True, exist_ok=True)
            pl_module.embeddings.save(folder / "motion.safetensors", backbone=pl_module.backbone.fingerprint)


class LossCurve(Callback):
    """Keeps the training loss as loggers see it.

    Attributes:
        points: ``(step, loss)`` of every step that Lightning logs (``trainer.log_every_n_steps``), in order.
    """

    def __init__(self) -> None:
        self.points: list[tuple[int, float]] = []

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        if trainer.global_step % trainer.log_every_n_steps == 0 and outputs is not None:  # type: ignore[attr-defined]
            self.points.append((trainer.global_step - 1, float(outputs["loss"])))


class ResultCallback(SampleCallback):
    """Writes ``result.json`` after validation: configuration, seed, versions, timings, parameter counts, scores.

    Also gives TensorBoard's HParams tab the hyper-parameters with the metrics, so that runs can be compared.

    Attributes:
        config: the resolved configuration. labels: further columns of the HParams tab, such as the experiment's name.
        scored: the training step whose validation came last, or None.
    """

    PACKAGES = ("motion-ablation", "torch", "lightning", "diffusers", "transformers", "peft", "torchmetrics", "clean-fid")

    def __init__(self) -> None:
        self.started = time.time()
        self.train_seconds = 0.0
        self.config: dict[str, Any] = {}
        self.labels: dict[str, str] = {}
        self.scored: int | None = None

    def on_fit_start(self, trainer: L.Trainer, pl_module: Any) -> None:
        self.started = time.time()

    def on_train_end(self, trainer: L.Trainer, pl_module: Any) -> None:
        self.train_seconds = time.time() - self.started

    def end(self, trainer: L.Trainer, module: Any, stage: str) -> None:
        if trainer.sanity_checking:
            return
        self.scored = trainer.global_step
        if not trainer.is_global_zero or trainer.fast_dev_run:  # type: ignore[attr-defined]
            return
        scorers = [c for c in trainer.callbacks if isinstance(c, MetricCallback | TruthCallback)]  # type: ignore[attr-defined]
        values: dict[str, float] = {}
        for scorer in scorers:
            values.update(scorer.values)
        result = {
            "status": "done",
            "config": self.config,
            "seed": os.environ.get("PL_GLOBAL_SEED"),
            "versions": {"python": platform.python_version(), **{name: version(name) for name in self.PACKAGES}},
            "parameters": {
                "trainable": module.embeddings.parameter_count,
                "frozen": sum(p.numel() for p in module.backbone.parameters()),
            },
            "steps": trainer.global_step,
            "seconds": round(time.time() - self.started, 2),
            "backbone": module.backbone.fingerprint,
            "metrics": values,
            "protocols": {c.name: next(iter(c.states.values())).protocol for c in scorers if isinstance(c, MetricCallback) and c.states},
            "cells": merge_rows([row for scorer in scorers for row in scorer.rows]),
        }
        folder = run_folder(trainer)
        folder.mkdir(parents=True, exist_ok=True)
        part = folder / "result.json.part"
        part.write_text(json.dumps(result, indent=1, default=str) + "\n")
        os.replace(part, folder / "result.json")
        self._log_hparams(trainer, module, values)

    def _log_hparams(self, trainer: L.Trainer, module: Any, values: dict[str, float]) -> None:
        config = module.motion_config
        flat: dict[str, Any] = self.labels | {
            f"{name}.{axis}": " ".join(str(v) for v in getattr(stream, axis).values())
            for name, stream in config.streams().items()
            for axis in ("layout", "integration", "debias")
        }
        flat |= {"adapter": " ".join(str(v) for v in (config.adapter or {"name": "none"}).values()), "objective": module.objective_name}
        flat |= {"sites": f"{' '.join(config.sites.stages)}, {config.sites.channels}, {' '.join(config.sites.attentions)}"}
        flat |= {"lr": module.optimizer_config.lr, "guidance": module.sampling.guidance, "parameters": module.embeddings.parameter_count}
        for logger in trainer.loggers:
            if isinstance(logger, TensorBoardLogger):
                logger.log_hyperparams(flat, {f"hp/{name}": value for name, value in values.items()})


def merge_rows(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Joins the scores of several metrics on the cell they belong to, in first-seen order."""
    merged: dict[tuple[Any, ...], dict[str, Any]] = {}
    for row in rows:
        merged.setdefault(tuple(row[key] for key in ("reference", "prompt", "seed", "noise")), {}).update(row)
    return list(merged.values())
