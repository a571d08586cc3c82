"""The ``evaluation`` section of a configuration: which metrics score a run's videos, and what they share."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from motion_ablation.metrics.base import METRICS, sources_of
from motion_ablation.metrics.networks.encoders import clip_folder
from motion_ablation.metrics.networks.sources import place_of

BUILTIN = "shapes"
CLIP = "openai/clip-vit-base-patch32"


@dataclass
class EvaluationConfig:
    """How generated videos are scored.

    Attributes:
        metrics: names of registered metrics, or ``{name: ..., **options}``.
        encoder: the CLIP of every metric that takes one and does not set its own: ``shapes`` (the built-in one), a folder, or a hub id.
            None is ``shapes``, which suits the built-in backbone only.
        tracker: the point tracker of every metric that takes one and does not set its own: ``opencv``, ``raft``, ``cotracker3``, each also
            ``NAME:PATH`` of its weights. None leaves each metric its default.
    """

    metrics: list[str | dict[str, Any]] = field(default_factory=list)
    encoder: str | None = None
    tracker: str | None = None

    def options(self) -> dict[str, dict[str, Any]]:
        """The metrics' names, in order, with all their options: the shared settings are filled in.

        Raises:
            ValueError: for what is not a metric, an option that it does not take, or a metric that comes twice.
        """
        shared = {"encoder": self.encoder, "tracker": self.tracker}
        found: dict[str, dict[str, Any]] = {}
        for spec in self.metrics:
            name, own = METRICS.parse(spec, "evaluation.metrics")
            if name in found:
                raise ValueError(f"evaluation.metrics: '{name}' comes twice")
            taken = {option: shared[setting] for option, setting in self._open(name, own).items() if shared[setting] is not None}
            found[name] = taken | own
        return found

    def compared(self) -> list[str]:
        """The metrics by which cards compare that do not name their own."""
        return [name for name in self.options() if METRICS[name].compared and not METRICS[name].requires_truth]

    def check(self, source: str) -> None:
        """Refuses, before anything is loaded, what cannot be used to judge the videos of a backbone.

        Args:
            source: the backbone's, as in ``model.backbone.source``.

        Raises:
            ValueError: for a wrong metric or option, or a real backbone whose videos the built-in CLIP would judge unasked.
            MissingWeights: if the weights that a metric needs are not on this machine.
        """
        options = self.options()
        needing = [name for name, own in options.items() if "encoder" in self._open(name, own).values()]
        if self.encoder is not None:
            clip_folder(self.encoder)
        if self.encoder is None and needing and source != BUILTIN:
            raise ValueError(
                f"evaluation.encoder is not set: the built-in CLIP cannot judge videos of '{source}' ({', '.join(needing)}); run "
                f"`hf download {CLIP}` and add --evaluation.encoder {CLIP} (or --evaluation.encoder {BUILTIN} to use the built-in one)"
            )
        for name, own in options.items():
            METRICS.build(name, **own)
            for value in sources_of(name, own).values():
                place_of(value)

    def check_frames(self, frames: int) -> None:
        """Refuses, before training, clips that are too short for a metric; naming both. Raises ``ValueError``."""
        for name in self.options():
            if frames < METRICS[name].frames_needed:
                needed = METRICS[name].frames_needed
                raise ValueError(
                    f"data.frames {frames} is too few for {name}, which needs {needed}; raise it, or drop {name} from evaluation.metrics"
                )

    @staticmethod
    def _open(name: str, own: dict[str, Any]) -> dict[str, str]:
        """The options of a metric that a shared setting fills, each with that setting's name."""
        takes = METRICS.options(name)
        return {option: setting for option, setting in METRICS[name].shares.items() if option in takes and option not in own}
