"""What every metric of videos is: a torchmetrics state that names what it reads and declares what its number means."""

from __future__ import annotations

import inspect
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric

from motion_ablation.records import Sample
from motion_ablation.registry import Registry

METRICS: Registry[type[VideoMetric]] = Registry("metric", "motion_ablation.metrics")
ROUNDING = 1e-3


def check_frames(frames: Tensor, name: str = "frames") -> Tensor:
    """Refuses what is no batch of videos.

    Args:
        frames: ``(b, f, 3, h, w)``, float in ``[0, 1]`` or uint8. name: what to call it in messages.

    Returns:
        The same videos as float32 in ``[0, 1]``; overshoots of up to 0.001 are clamped.

    Raises:
        ValueError: for another number of dimensions or channels, an empty batch, NaN, or values out of range.
    """
    if not isinstance(frames, Tensor) or frames.ndim != 5 or frames.shape[2] != 3:
        raise ValueError(f"{name} must be a tensor (b, f, 3, h, w), not {tuple(getattr(frames, 'shape', ())) or type(frames).__name__}")
    if frames.numel() == 0:
        raise ValueError(f"{name} is empty: {tuple(frames.shape)}")
    if frames.dtype == torch.uint8:
        return frames.float() / 255
    if not frames.is_floating_point():
        raise ValueError(f"{name} must be float in [0, 1] or uint8, not {frames.dtype}")
    low, high = (value.item() for value in torch.aminmax(frames.detach()))
    if not (low >= -ROUNDING and high <= 1 + ROUNDING):
        raise ValueError(f"{name} must lie in [0, 1] without NaN; the values span [{low:.4g}, {high:.4g}]")
    return frames.detach().float().clamp(0, 1)


def check_prompts(prompt: Sequence[str], videos: int) -> list[str]:
    """Refuses anything but one text per video with ``ValueError``."""
    if isinstance(prompt, str) or not all(isinstance(text, str) for text in prompt) or len(prompt) != videos:
        raise ValueError(f"prompt must be a list of {videos} texts, one per video, not {prompt!r}")
    return list(prompt)


def sources_of(name: str, options: Mapping[str, Any]) -> dict[str, str]:
    """What a metric with these options reads of networks or files on disk, by option; its defaults count too, objects do not."""
    defaults = {key: parameter.default for key, parameter in inspect.signature(METRICS[name]).parameters.items()}
    values = {key: (defaults | dict(options))[key] for key in METRICS[name].sources}
    return {key: str(value) for key, value in values.items() if isinstance(value, str | Path)}


class VideoMetric(Metric):
    """A metric over generated videos.

    Attributes:
        name: its registry name. reads: what its update takes, in this order: ``frames``, ``reference`` (its frames), and any other field
            of :class:`~motion_ablation.records.Sample` (``prompt``, ``seed``) or of its reference (``truth``, ``caption``).
        sources: options of its constructor that name networks or files on disk; their content belongs to what determines the score.
        shares: such options that take a setting of all metrics where they are not set, with its name; see ``metrics.config``.
        higher_is_better: the direction; None where neither is better. range: the least and greatest value. unit: what the number counts.
        per_sample: whether every video has a score of its own, whose mean is the result.
        frames_needed: the least length of a video.
        compared: whether cards that do not name their metrics compare by it.
        requires_truth: whether it judges the built-in world only, so that real videos score NaN; tables show it apart, where it is known.
    """

    name: str
    reads: tuple[str, ...]
    sources: tuple[str, ...] = ()
    shares: Mapping[str, str] = {"encoder": "encoder", "tracker": "tracker"}
    higher_is_better: bool | None = True
    range: tuple[float, float]
    unit: str
    per_sample: bool
    frames_needed: int = 1
    compared: bool = True
    requires_truth: bool = False
    is_differentiable = False
    full_state_update = False

    @property
    @abstractmethod
    def protocol(self) -> dict[str, object]:
        """How the number was made (network, resize, formula), for the results file; values are JSON."""

    def update_samples(self, samples: Sequence[Sample]) -> list[float] | None:
        """Adds samples to the state; videos of one shape go in as one batch, others one by one.

        Returns:
            The score of each sample, or None where only the set has one.
        """
        one_batch = len({(sample.frames.shape, sample.reference.frames.shape) for sample in samples}) == 1
        batches = [samples] if one_batch else [[sample] for sample in samples]
        scores: list[float] = []
        for batch in batches:
            self.update(**{name: _gather(batch, name) for name in self.reads})
            scores += self.last_scores()
        return scores if self.per_sample else None

    def last_scores(self) -> list[float]:
        """The scores of the videos of the latest update; empty where only the set has one."""
        return []


class PerSampleMetric(VideoMetric):
    """A metric that scores each video: subclasses give the stateless :meth:`score`, the result is the mean.

    A video that cannot be judged scores NaN and is left out of the mean, which is NaN without any video. Further states must be sums, so
    that scores that were kept can stand in for videos.
    """

    per_sample = True
    total: Tensor
    count: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.add_state("total", torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("count", torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")
        self._latest: list[float] = []

    @abstractmethod
    def score(self, *inputs: Any, **named: Any) -> Tensor:
        """The score of each video, ``(b,)``, of what :attr:`reads` names; leaves the state alone."""

    def update(self, *inputs: Any, **named: Any) -> None:
        """Adds a batch of videos; takes what :meth:`score` takes."""
        self.add(self.score(*inputs, **named))

    def add(self, scores: Tensor) -> None:
        """Adds the scores ``(b,)`` of a batch of videos to the state, without those that are NaN."""
        scores = scores.double()
        self._latest = scores.tolist()
        known = scores[~scores.isnan()]
        self.total = self.total + known.sum().to(self.total.device)
        self.count = self.count + len(known)

    def last_scores(self) -> list[float]:
        return self._latest

    def sums(self) -> dict[str, Tensor]:
        """The state: what :meth:`merge_state` of another metric like this adds to its own, as if it had seen the same videos."""
        return {name: value for name, value in self.metric_state.items() if isinstance(value, Tensor)}

    def compute(self) -> Tensor:
        """Mean score of all videos that could be judged, a float64 scalar."""
        return self.total / self.count


def field_of(sample: Sample, name: str) -> Any:
    """What an entry of ``reads`` stands for: the reference's frames, or a field of the sample or of its reference."""
    if name == "reference":
        return sample.reference.frames
    return getattr(sample, name) if hasattr(sample, name) else getattr(sample.reference, name)


def _gather(samples: Sequence[Sample], name: str) -> Any:
    values = [field_of(sample, name) for sample in samples]
    return torch.stack(values) if isinstance(values[0], Tensor) else values
