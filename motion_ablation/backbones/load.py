"""What a YAML says of the frozen model, and the model itself, loaded once per process."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from motion_ablation.backbones.base import BACKBONES, Backbone


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


@lru_cache(maxsize=1)
def _load(name: str, source: str, options: tuple[tuple[str, Any], ...]) -> Backbone:
    backbone: Backbone = BACKBONES.build(name, source=source, **dict(options))
    return backbone


def load_backbone(config: BackboneConfig) -> Backbone:
    """The frozen model, loaded once per process for as long as the configuration stays the same."""
    try:
        return _load(config.name, config.source, tuple(sorted(config.options.items())))
    except TypeError as error:
        raise ValueError(f"model.backbone.options: {config.options} cannot be used: {error}") from error
