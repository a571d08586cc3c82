"""Low-rank adapters on the layers that see one frame at a time."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractContextManager

from torch import nn

from motion_ablation.motion.adapters.base import APPEARANCES, Appearance
from motion_ablation.motion.adapters.lora import adapted, check_rank, low_rank


@APPEARANCES.register("spatial_lora")
class SpatialLora(Appearance):
    """LoRA of rank ``rank`` on the spatial transformer blocks: their attentions and, with ``feed_forward``, their feed-forward layers.

    The defaults are our smaller set; ``experiments/objective_hybrid.yaml`` has the released one.

    Args:
        denoiser: the network. temporal: module paths of its temporal blocks, which are left alone.
        rank: see LoRA. dropout: share of a layer's input that the LoRA does not see in training. skipped, embeddings, lr: as for all.
    """

    def __init__(
        self, denoiser: nn.Module, temporal: Iterable[str], rank: int = 8, dropout: float = 0.0, feed_forward: bool = False,
        skipped: float = 0.0, embeddings: bool = False, lr: float | None = None,
    ) -> None:  # fmt: skip
        super().__init__(skipped, embeddings, lr)
        self.check(rank, dropout, feed_forward, skipped, embeddings, lr)
        chosen = spatial_layers(denoiser, set(temporal), feed_forward)
        if not chosen:
            raise ValueError("appearance 'spatial_lora' finds no spatial attention in this backbone to adapt")
        widths = {name: (layer.in_features, layer.out_features) for name, layer in chosen.items()}
        self.layers = low_rank(widths, rank, dropout).to(next(iter(chosen.values())).weight.device)

    @classmethod
    def check(  # type: ignore[override]
        cls, rank: int = 8, dropout: float = 0.0, feed_forward: bool = False,
        skipped: float = 0.0, embeddings: bool = False, lr: float | None = None,
    ) -> None:  # fmt: skip
        check_rank(rank, "appearance 'spatial_lora'")
        if not (isinstance(dropout, int | float) and 0 <= dropout < 1):
            raise ValueError(f"appearance 'spatial_lora': dropout must be at least 0 and below 1, not {dropout!r}")
        super().check(skipped, embeddings, lr)

    def attached(self, denoiser: nn.Module, learning: bool) -> AbstractContextManager[None]:
        return adapted(denoiser, self.layers, learning)


def spatial_layers(denoiser: nn.Module, temporal: set[str], feed_forward: bool) -> dict[str, nn.Linear]:
    """Linear layers, by module path, of the transformer blocks of ``denoiser`` that are not ``temporal``.

    A transformer block is a module with an attention ``attn1``; an attention is a module with a projection ``to_q``.
    """
    layers: dict[str, nn.Linear] = {}
    for path, block in denoiser.named_modules():
        if path in temporal or not hasattr(getattr(block, "attn1", None), "to_q"):
            continue
        for part, module in block.named_children():
            if hasattr(module, "to_q") or (feed_forward and part == "ff"):
                layers |= {f"{path}.{part}.{name}": layer for name, layer in module.named_modules() if isinstance(layer, nn.Linear)}
    return layers
