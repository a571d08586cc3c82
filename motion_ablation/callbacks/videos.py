"""Generated videos: as GIFs, in the run's folder and in its loggers, and lossless for later scoring."""

from __future__ import annotations

import logging
from dataclasses import asdict
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import torch
from einops import rearrange
from lightning.pytorch.callbacks import Callback
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from motion_ablation.cache.artefacts import content_hash
from motion_ablation.callbacks.base import SampleCallback, run_folder
from motion_ablation.callbacks.loggers import log_video
from motion_ablation.callbacks.result import trained_steps
from motion_ablation.data.reference import shortened
from motion_ablation.data.video import write_gif, write_video
from motion_ablation.files import replacing
from motion_ablation.fonts import drawable, font_for
from motion_ablation.records import Sample

log = logging.getLogger(__name__)
WORDS = 80  # bytes of a prompt in a file name


def labelled(frames: Tensor, label: str, width: int) -> Tensor:
    """Videos ``(f, 3, h, w)`` enlarged to ``width`` pixels with a strip of text above, same axes and range."""
    factor = max(1, round(width / frames.shape[-1]))
    large = frames.repeat_interleave(factor, 2).repeat_interleave(factor, 3)
    strip = Image.new("RGB", (large.shape[-1], 14), "white")
    font = None if label.isascii() else ImageFont.truetype(font_for(label)[1], 10)
    ImageDraw.Draw(strip).text((2, 1), drawable(label)[: large.shape[-1] // 6], fill="black", font=font)
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


class VideoCallback(SampleCallback):
    """Writes reference and generated videos as playing GIFs to ``videos/``, and shows them in the loggers that can.

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
            try:
                self._show(trainer, name, noise, samples)
            except Exception as error:  # a preview is a by-product: the run and its scores go on
                log.warning("the preview of %s, %s noise, could not be made: %s", name, noise, error)

    def _show(self, trainer: L.Trainer, name: str, noise: str, samples: list[Sample]) -> None:
        reference = samples[0].reference
        videos = [("reference", reference.frames)] + [(f"{s.prompt} ({s.seed})", s.frames) for s in samples]
        sheet = side_by_side(videos)
        gif = run_folder(trainer) / "videos" / f"{name}-{noise}.gif"
        write_gif(gif, sheet, reference.fps)
        for logger in trainer.loggers:
            log_video(logger, f"{name}/{noise}", gif, "; ".join(label for label, _ in videos), trained_steps(trainer))


def cell_stem(reference: str, prompt: str, seed: int, noise: str) -> str:
    """A file name for what was generated in a cell: no two cells share one, whatever the file system makes of case and symbols.

    The prompt's words; unless they are the prompt itself, or where they are long, its hash follows. Cut by bytes, to a length that every
    file system takes.
    """
    words = "-".join("".join(c if c.isalnum() else " " for c in prompt.lower()).split())
    if not words.isascii() or words.replace("-", " ") != prompt or len(words) > WORDS:
        words = f"{shortened(words, WORDS - 9)}-{content_hash(prompt)[:8]}"
    return f"{reference}_{words}_{seed}_{noise}"


def sample_stem(sample: Sample) -> str:
    """A file name for a sample: reference, prompt, seed and noise."""
    return cell_stem(**asdict(sample.cell))


def save_frames(folder: Path, sample: Sample) -> Path:
    """Keeps a sample lossless (uint8 ``(f, h, w, 3)`` under ``frames``), atomically."""
    path = folder / f"{sample_stem(sample)}.npz"
    with replacing(path) as part, part.open("wb") as file:
        np.savez_compressed(file, frames=(rearrange(sample.frames, "f c h w -> f h w c") * 255).round().byte().cpu().numpy())
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
