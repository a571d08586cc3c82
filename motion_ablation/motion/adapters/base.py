"""What an adapter is: an addition to the projections of one temporal attention, which starts at nothing."""

from __future__ import annotations

from typing import Any

from torch import nn

from motion_ablation.registry import Registry

ADAPTERS: Registry[Any] = Registry("adapter", "motion_ablation.motion.adapters", given=("channels",))
PROJECTIONS = ("to_q", "to_k", "to_v", "to_out.0")


class Adapter(nn.Module):
    """Additions to the four projections of an attention of this width, in ``layers`` by name (dots become slashes)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = channels
        self.layers = nn.ModuleDict()

    @classmethod
    def check(cls, **options: Any) -> None:
        """Raises ``ValueError`` for options that cannot work, before any weight is loaded."""

    def pairs(self, attention: nn.Module) -> list[tuple[nn.Module, nn.Module]]:
        """Each of the attention's projections with its addition."""
        return [(attention.get_submodule(name.replace("/", ".")), layer) for name, layer in self.layers.items()]
