"""Diversity: how much the videos of one prompt differ from seed to seed."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torchmetrics.utilities import dim_zero_cat

from motion_ablation.metrics.base import METRICS, VideoMetric, check_frames
from motion_ablation.metrics.networks.encoders import ImageEncoder, embed_videos, load_encoder
from motion_ablation.records import Sample


def diversity(videos: Tensor) -> Tensor:
    """Mean pairwise cosine distance of videos, each represented by the mean of its frames' unit embeddings.

    By video, not frame by frame: two videos that show the same at different times do not differ in what they show.

    Args:
        videos: ``(n, d)``, n >= 2.

    Returns:
        A scalar in ``[0, 2]``; 0 for equal videos.
    """
    videos = F.normalize(videos, dim=-1)
    earlier, later = torch.triu_indices(len(videos), len(videos), 1, device=videos.device)
    return (1 - (videos[earlier] * videos[later]).sum(-1)).clamp(0, 2).mean()


@METRICS.register("diversity")
class Diversity(VideoMetric):
    """Mean pairwise CLIP distance among the seeds of one reference, prompt and noise, in [0, 2]; higher is better.

    A set-level number: the mean over all (reference, prompt, noise) that have two seeds or more; NaN, with a warning, where none has. A
    seed that comes twice counts once. An embedding that dictates everything scores low; noise alone scores high, so read it beside the
    text similarity.

    Args:
        encoder: a source of ``ClipEncoder`` (``shapes``, a folder, a hub repository) or an ``ImageEncoder``.
    """

    name = "diversity"
    sources = ("encoder",)
    reads = ("frames",)
    sources = ("encoder",)
    higher_is_better = True
    compared = False
    range = (0.0, 2.0)
    unit = "cosine distance"
    per_sample = False
    videos: list[Tensor] | Tensor
    groups: list[Tensor] | Tensor
    seeds: list[Tensor] | Tensor

    def __init__(self, encoder: str | ImageEncoder = "shapes") -> None:
        super().__init__()
        self._encoder = (load_encoder(encoder) if isinstance(encoder, str) else encoder,)
        self._sizes: dict[str, int] = {}
        for name in ("videos", "groups", "seeds"):
            self.add_state(name, [], dist_reduce_fx="cat")

    @property
    def protocol(self) -> dict[str, object]:
        """Network, resize and formula; after ``compute`` also the numbers of groups and videos that were compared."""
        (encoder,) = self._encoder
        formula = "mean over (reference, prompt, noise) of the mean pairwise 1 - cosine of the videos' mean embeddings over seeds"
        return {"network": encoder.name, "resize": encoder.resize, "formula": formula, **self._sizes}

    def update_samples(self, samples: Sequence[Sample]) -> None:
        """Adds samples to the state, grouped by reference, prompt and noise."""
        for sample in samples:
            self.update(sample.frames[None], ["\0".join((sample.reference.name, sample.prompt, sample.noise))], [sample.seed])

    def update(self, frames: Tensor, groups: Sequence[str] | None = None, seeds: Sequence[int] | None = None) -> None:
        """Adds videos ``(b, f, 3, h, w)``.

        Args:
            groups: of each video, what it shares with those that it is compared with; None: all videos are of one group.
            seeds: what tells the videos of a group apart; None: their places in the batch.
        """
        frames = check_frames(frames)
        groups = [""] * len(frames) if groups is None else groups
        seeds = list(range(len(frames))) if seeds is None else seeds
        if not len(frames) == len(groups) == len(seeds):
            raise ValueError(f"one group and seed per video is needed, not {len(groups)} and {len(seeds)} for {len(frames)}")
        images = F.normalize(embed_videos(self._encoder[0], frames), dim=-1)
        values = (images.mean(1), torch.tensor([_number(group) for group in groups]), torch.tensor(list(seeds)))
        for name, value in zip(("videos", "groups", "seeds"), values, strict=True):
            getattr(self, name).append(value.to(self.device))

    def sync(self, *args: Any, **kwargs: Any) -> None:
        """Joins the processes' states; a process that has seen no video first gives its state the shape of the others'."""
        if torch.distributed.is_available() and torch.distributed.is_initialized() and len(self.videos) == 0:
            self.videos = [torch.zeros(0, self._encoder[0].dimension, device=self.device)]
            self.groups, self.seeds = ([torch.zeros(0, dtype=torch.long, device=self.device)] for _ in range(2))
        super().sync(*args, **kwargs)

    def compute(self) -> Tensor:
        """The mean distance, a float64 scalar."""
        found: dict[int, dict[int, Tensor]] = {}
        if len(self.videos):
            rows = zip(dim_zero_cat(self.groups).tolist(), dim_zero_cat(self.seeds).tolist(), dim_zero_cat(self.videos), strict=True)
            for group, seed, video in rows:
                found.setdefault(group, {}).setdefault(seed, video.double())
        compared = [torch.stack([seeds[seed] for seed in sorted(seeds)]) for _, seeds in sorted(found.items()) if len(seeds) > 1]
        self._sizes = {"groups": len(compared), "videos": sum(map(len, compared))}
        if not compared:
            warnings.warn("diversity needs two seeds of one reference, prompt and noise: NaN", stacklevel=2)
            return torch.tensor(float("nan"), dtype=torch.float64)
        return torch.stack([diversity(videos) for videos in compared]).mean()


def _number(group: str) -> int:
    """A 64-bit number for a text, the same in every process."""
    return int.from_bytes(hashlib.blake2b(group.encode(), digest_size=8).digest(), "big", signed=True)
