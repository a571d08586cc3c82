"""What there is to tell of a training, whichever run made it: steps, seconds and the loss curve."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from motion_ablation.cache.artefacts import Tensors

POINTS = 1000  # of a loss curve in result.json, at most
FACTS, LOSSES = "training", "training.loss"  # beside an embedding's tensors in the cache


@dataclass
class Training:
    """A training that made an embedding.

    Attributes:
        steps: of the optimiser. seconds: that it took. losses: ``(step, loss)`` of every step that Lightning logs
            (``trainer.log_every_n_steps``), in order.
    """

    steps: int = 0
    seconds: float = 0.0
    losses: list[tuple[int, float]] = field(default_factory=list)

    def to_tensors(self) -> Tensors:
        """As tensors, to be stored with the embedding."""
        losses = torch.tensor(self.losses, dtype=torch.float64).reshape(-1, 2)
        return {FACTS: torch.tensor([self.steps, self.seconds], dtype=torch.float64), LOSSES: losses}

    @classmethod
    def from_tensors(cls, tensors: Tensors) -> Training:
        """Inverse of :meth:`to_tensors`; other tensors are passed over."""
        steps, seconds = tensors[FACTS].tolist()
        return cls(int(steps), seconds, [(int(step), loss) for step, loss in tensors[LOSSES].tolist()])

    def curve(self) -> dict[str, list[Any]]:
        """The loss curve for ``result.json``: ``steps`` and ``values``, thinned to :data:`POINTS` points."""
        steps, values = thinned([step for step, _ in self.losses], [loss for _, loss in self.losses], POINTS)
        return {"steps": steps.tolist(), "values": values.tolist()}


def thinned(steps: Sequence[float] | np.ndarray, values: Sequence[float] | np.ndarray, points: int) -> tuple[np.ndarray, np.ndarray]:
    """At most ``points`` points of a curve, each the mean of an equal share of it; ``(n,)`` both."""
    if len(steps) <= points:
        return np.asarray(steps), np.asarray(values)
    thin_steps, thin_values = (np.array([part.mean() for part in np.array_split(line, points)]) for line in (steps, values))
    return thin_steps, thin_values
