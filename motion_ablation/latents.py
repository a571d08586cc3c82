"""What is computed once per reference, and kept on disk: its latents, its caption's features, and the noise that it comes from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from motion_ablation.backbones import Backbone, Posterior
from motion_ablation.cache.addresses import inversion_recipe, latents_recipe, text_recipe
from motion_ablation.cache.artefacts import Artefacts
from motion_ablation.records import Clip, Site


@dataclass(frozen=True)
class Prepared:
    """A reference as the frozen model sees it.

    Attributes:
        clip: the reference. posterior: of its latents. caption: features of its caption ``(1, n, d)``.
        sites: where motion can be attached. recipe: the address of the latents.
    """

    clip: Clip
    posterior: Posterior
    caption: Tensor
    sites: list[Site]
    recipe: dict[str, Any]


class Latents:
    """References as ``backbone`` sees them.

    Args:
        artefacts: where they are kept. precision: the trainer's precision, asked for at each use; part of every address.
    """

    def __init__(self, backbone: Backbone, artefacts: Artefacts, precision: Callable[[], str]) -> None:
        self.backbone, self.artefacts, self.precision = backbone, artefacts, precision
        self._prepared: dict[str, Prepared] = {}

    def of(self, clip: Clip) -> Prepared:
        """The reference's latents and its caption's features; encoded at most once."""
        known = self._prepared.get(clip.name)
        if known is None or known.clip.caption != clip.caption or not torch.equal(known.clip.frames, clip.frames):
            frames, _, height, width = clip.frames.shape
            recipe = latents_recipe(self.backbone, clip, self.precision())
            stored = self.artefacts.get("latents", recipe, lambda: self._encode(clip))
            stored = {name: tensor.to(self.backbone.device) for name, tensor in stored.items()}
            posterior = Posterior(stored["mean"], stored["std"])
            known = Prepared(clip, posterior, stored["caption"], self.backbone.sites(frames, height, width), recipe)
            self._prepared[clip.name] = known
        return known

    def _encode(self, clip: Clip) -> dict[str, Tensor]:
        posterior = self.backbone.encode(clip.frames)
        return {"mean": posterior.mean, "std": posterior.std, "caption": self.embed([clip.caption])}

    def embed(self, texts: list[str]) -> Tensor:
        """Features of texts, ``(b, n, d)``; those of an encoder that is too large to stay are computed at most once."""
        backbone = self.backbone
        if not backbone.text_fingerprint:
            return backbone.embed(texts)
        make = lambda missing: [{"features": each[None]} for each in backbone.embed([texts[index] for index in missing])]  # noqa: E731
        kept = self.artefacts.get_all("texts", [text_recipe(backbone, text) for text in texts], make)
        return torch.cat([tensors["features"] for tensors in kept]).to(backbone.device)

    @torch.no_grad()
    def inverted(self, clip: Clip, steps: int, start: str = "mean") -> Tensor:
        """Inversion of the reference on the bare backbone, ``(1, c, f, h, w)``; computed at most once.

        Args:
            steps: of the inversion. start: ``mean`` or ``sample`` of the posterior of its latents.
        """
        posterior = self.of(clip).posterior
        clean = posterior.mean if start == "mean" else posterior.kept()
        empty = self.embed([""])
        invert = lambda: {"noise": self.backbone.invert(clean, empty, steps)}  # noqa: E731
        return self.artefacts.get("inverted", self.inversion(clip, steps, start), invert)["noise"].to(self.backbone.device)

    def inversion(self, clip: Clip, steps: int, start: str) -> dict[str, Any]:
        """The address of the inverted noise."""
        return inversion_recipe(self.backbone, self.of(clip).recipe, steps, start, self.precision())
