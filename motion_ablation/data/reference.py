"""Reference videos: decoded once, and dealt out for training and for generation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any, TypeVar

import lightning as L
import torch
from torch.utils.data import DataLoader, Dataset, DistributedSampler

from motion_ablation.data.sources import Source, caption_beside, caption_of, find_sources, refuse_copies, shortened, sidecar_of
from motion_ablation.data.video import read_clip, read_frames
from motion_ablation.data.window import Window
from motion_ablation.data.world.builtin import CACHE, builtin, builtin_path, builtin_truth
from motion_ablation.records import Cell, Clip

T = TypeVar("T")

__all__ = [
    "Batch",
    "ReferenceDataModule",
    "ReferenceDataset",
    "Source",
    "caption_beside",
    "find_sources",
    "shortened",
    "sidecar_of",
    "split_evenly",
]

# Appearances that pretraining never sees.
PROMPTS = ["a red circle on a cyan background", "a cyan triangle on a blue background", "a orange star on a red background"]
SEEDS = [0, 1]
NOISES = ["blend", "random"]


@dataclass(frozen=True)
class Batch:
    """Videos to generate together.

    Attributes:
        clip: the reference whose motion they take. cells: their keys, all of this reference and of one initial noise; none for a process
            that has nothing left to generate.
    """

    clip: Clip
    cells: list[Cell]


class ReferenceDataset(Dataset[Clip]):
    """References as one dataset of :class:`Clip`; each is decoded at its first use and kept.

    Args:
        sources: the references. window: what to read of each; a source's own start comes first.
    """

    def __init__(self, sources: Sequence[Source], window: Window, cache: str | Path = CACHE) -> None:
        self.sources = [s if s.path is None or s.caption else replace(s, caption=caption_of(s.path)) for s in sources]
        self.window = window
        self.cache = cache
        self._clips: dict[int, Clip] = {}

    def __len__(self) -> int:
        return len(self.sources)

    def __getitem__(self, index: int) -> Clip:
        if not 0 <= index < len(self):
            raise IndexError(f"reference {index} of {len(self)}")
        if index not in self._clips:
            self._clips[index] = self._decode(self.sources[index])
        return self._clips[index]

    def _decode(self, source: Source) -> Clip:
        window, path = self.window, source.path
        start, fps = window.start if source.start is None else source.start, window.fps
        if path is None:
            path = builtin_path(source.builtin, self.cache)
            start, fps = start + builtin(source.builtin).start, fps or builtin(source.builtin).fps
        if source.range is not None:
            frames, rate = read_frames(path, source.range, frames=window.frames, size=window.size, crop=window.crop)
            return Clip(frames, rate, source.caption or "", source.name, source.prompts)
        frames, rate = read_clip(path, frames=window.frames, fps=fps, start=start, size=window.size, crop=window.crop)
        square = window.shape[0] == window.shape[1]
        truth = builtin_truth(source.builtin, window.frames, rate, start) if source.builtin and square else {}
        return Clip(frames, rate, source.caption or "", source.name, source.prompts, truth)


class _RoundRobin(Dataset[Clip]):
    """``length`` clips, taking the references in turn."""

    def __init__(self, clips: ReferenceDataset, length: int) -> None:
        self.clips, self.length = clips, length

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> Clip:
        if not 0 <= index < self.length:
            raise IndexError(f"step {index} of {self.length}")
        return self.clips[index % len(self.clips)]


def split_evenly(groups: Sequence[Sequence[T]], size: int, ranks: int) -> list[list[tuple[int, list[T]]]]:
    """Deals items to ranks in turn, in batches of one group each.

    Args:
        groups: items that may share a batch. size: most items of a batch.

    Returns:
        For each rank the index of each batch's group, and its items. Every item is in one batch. Loads differ by one item at most. All
        ranks have as many batches, the last ones of some are empty: processes that wait for each other at every batch stay together.
    """
    batches: list[list[tuple[int, list[T]]]] = [[] for _ in range(ranks)]
    dealt = 0
    for group, items in enumerate(groups):
        for rank, mine in enumerate(batches):
            own = list(items[(rank - dealt) % ranks :: ranks])
            mine += [(group, own[first : first + size]) for first in range(0, len(own), size)]
        dealt += len(items)
    most = max(map(len, batches))
    return [mine + [(0, [])] * (most - len(mine)) for mine in batches]


class _CellBatches(Dataset[Batch]):
    """Batches of the cells of one reference and one initial noise.

    Args:
        ranks: processes that share the cells out. rank: this one, whose cells these are.
    """

    def __init__(
        self, clips: ReferenceDataset, seeds: Sequence[int], noises: Sequence[str], videos: dict[str, int], size: int, rank: int, ranks: int
    ) -> None:
        self.clips = clips
        self.groups = list(product(range(len(clips)), noises))
        pairs = [_first(clips.sources[index].prompts, seeds, videos.get(noise)) for index, noise in self.groups]
        self.batches = split_evenly(pairs, size, ranks)[rank]

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, index: int) -> Batch:
        return Batch(self.clips[self.groups[self.batches[index][0]][0]], self.cells_of(index))

    def cells_of(self, index: int) -> list[Cell]:
        """The cells of a batch; no video is decoded."""
        group, pairs = self.batches[index]
        reference, noise = self.groups[group]
        return [Cell(self.clips.sources[reference].name, prompt, seed, noise) for prompt, seed in pairs]

    def cells(self) -> list[Cell]:
        """Every cell, in order."""
        return [cell for index in range(len(self)) for cell in self.cells_of(index)]


def _first(prompts: Sequence[str], seeds: Sequence[int], most: int | None) -> list[tuple[str, int]]:
    """Prompts with seeds, at most so many: the first seed of every prompt comes before the second."""
    chosen = [(prompt, seed) for seed in seeds for prompt in prompts][:most]
    return [pair for pair in product(prompts, seeds) if pair in chosen]


def _as_is(item: Any) -> Any:
    return item


class ReferenceDataModule(L.LightningDataModule):
    """Reference videos for training, and the videos to generate from them for validation, test and prediction.

    Training batches are :class:`Clip`, one reference each. The other loaders give :class:`Batch`: cells of one reference
    and one initial noise, at most ``val_batch_size`` of them. Under a Trainer with several processes each process gets its own share of
    the cells, none twice; where they do not come out even, some batches are empty.

    Args:
        references: videos, folders of images or of videos, manifests (.jsonl or .csv; see docs/manifests.md), ``builtin:NAME``, or
            ``builtin``: the default ones.
        reference: take only this one, by name or index; None takes all.
        frames: frames per clip. size: pixels, one number or [height, width].
        fps: frames per second, resampled by timestamp; None keeps the source's rate. A manifest's range of frames is read as it is.
        start: seconds to skip; a manifest's start comes first, and a built-in clip counts from its own beginning.
        crop: ``center`` (to the target's aspect ratio) or ``none`` (squeeze).
        caption: what the video shows, for a single reference; else the manifest or ``clip.txt`` beside ``clip.mp4`` tells.
        prompts: texts to generate with, for references without prompts in a manifest. None: four of its own for each built-in reference,
            and :data:`PROMPTS`, which suit the built-in backbone, for all others. seeds: generation seeds.
        noises: names of the initial noises to generate from. videos: the most videos of a reference from one of them, by its name;
            what is not among the noises is passed over.
        cache: folder for the files of built-in references; None is ``cache/references``.
        steps_per_epoch: training steps per epoch, taking the references in turn. val_batch_size: most cells per batch.

    Attributes:
        cells: the key of every video that one validation generates, in order. cell_count: their number.

    Raises:
        ValueError: an argument that cannot work, a missing file or a missing caption (all before any video is decoded).
    """

    def __init__(
        self,
        references: list[str] | str,
        reference: str | int | None = None,
        frames: int = 16,
        size: int | list[int] = 64,
        fps: float | None = None,
        start: float = 0.0,
        crop: str = "center",
        caption: str | None = None,
        prompts: list[str] | None = None,
        seeds: list[int] = SEEDS,
        noises: list[str] = NOISES,
        videos: dict[str, int] | None = None,
        cache: str | None = None,
        steps_per_epoch: int = 50,
        val_batch_size: int = 8,
    ) -> None:
        super().__init__()
        self.save_hyperparameters()
        window = Window(frames, fps, start, size, crop)
        _check(references=[references] if isinstance(references, str) else references, seeds=seeds, noises=noises)
        wrong = [seed for seed in seeds if not -(2**63) <= seed < 2**63]
        if wrong:
            raise ValueError(f"seeds must be whole numbers of 64 bits, up to 2^63 - 1, not {wrong[0]}")
        if any(most < 1 for most in (videos or {}).values()):
            raise ValueError(f"videos must be numbers of at least 1 by the name of an initial noise, not {videos}")
        for name, value in {"steps_per_epoch": steps_per_epoch, "val_batch_size": val_batch_size}.items():
            if value < 1:
                raise ValueError(f"{name} must be at least 1, not {value}")
        sources = _select(find_sources(references), reference)
        if caption is not None:
            if not caption.strip():
                raise ValueError("caption must say what the video shows, it is blank")
            if len(sources) > 1:
                raise ValueError(f"caption describes one reference, there are {len(sources)}; give each a .txt file or use a manifest")
            sources = [replace(sources[0], caption=caption)]
        if prompts is not None:
            _check(prompts=prompts)
        sources = [replace(source, prompts=source.prompts or tuple(prompts or own_prompts(source) or PROMPTS)) for source in sources]
        refuse_copies(sources)
        self.dataset = ReferenceDataset(sources, window, cache or CACHE)
        self._deal = partial(_CellBatches, self.dataset, seeds, noises, videos or {}, val_batch_size)
        self.cells = self._deal(0, 1).cells()
        self.cell_count = len(self.cells)
        self._steps = _RoundRobin(self.dataset, steps_per_epoch)

    @property
    def texts(self) -> list[str]:
        """Every caption and prompt, each once."""
        return list(dict.fromkeys([*(source.caption or "" for source in self.dataset.sources), *(cell.prompt for cell in self.cells)]))

    def train_dataloader(self) -> DataLoader[Clip]:
        """One reference per step, in turn."""
        return DataLoader(self._steps, batch_size=None, collate_fn=_as_is)

    def val_dataloader(self) -> DataLoader[Batch]:
        """All cells of this process, in batches of one reference and one initial noise."""
        rank, ranks = (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)
        cells = self._deal(rank, ranks)
        # A sampler of this type keeps Lightning from sharing out once more what is this process's own.
        sampler: Any = DistributedSampler(cells, num_replicas=1, rank=0, shuffle=False) if ranks > 1 else None
        return DataLoader(cells, batch_size=None, sampler=sampler, collate_fn=_as_is)

    def test_dataloader(self) -> DataLoader[Batch]:
        """The same cells as at validation."""
        return self.val_dataloader()

    def predict_dataloader(self) -> DataLoader[Batch]:
        """The same cells as at validation."""
        return self.val_dataloader()

    def transfer_batch_to_device(self, batch: Any, device: torch.device, dataloader_idx: int) -> Any:
        """Moves a :class:`Clip`, or that of a :class:`Batch`, to ``device``."""
        return batch.to(device) if isinstance(batch, Clip) else replace(batch, clip=batch.clip.to(device))


def _check(**lists: Sequence[Any]) -> None:
    for name, values in lists.items():
        if isinstance(values, str) or not values or any(isinstance(value, str) and not value.strip() for value in values):
            raise ValueError(f"{name} must be a list with at least one entry and no empty one, not {values!r}")
        if name != "references" and len(set(values)) < len(values):
            raise ValueError(f"{name} holds the same entry twice: {values!r}")


def own_prompts(source: Source) -> tuple[str, ...]:
    """The prompts that come with a built-in reference; none of any other."""
    return builtin(source.builtin).prompts() if source.builtin else ()


def _select(sources: list[Source], reference: str | int | None) -> list[Source]:
    if reference is None:
        return sources
    names = [source.name for source in sources]
    index = names.index(reference) if reference in names else reference
    if isinstance(index, str) and index.isdigit():
        index = int(index)
    if not isinstance(index, int) or not 0 <= index < len(sources):
        raise ValueError(f"unknown reference '{reference}'. Choices: {', '.join(names)}, or an index below {len(names)}")
    return [sources[index]]
