"""Fine-tuning of the temporal attentions themselves."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from torch import Tensor, nn
from torch.nn import functional as F

from motion_ablation.motion.adapters.base import ADAPTERS, PROJECTIONS, Adapter, check_rate
from motion_ablation.records import key


@ADAPTERS.register("temporal_attention")
class TemporalAttention(Adapter):
    """A full change of every projection, ``(W + D) x`` with ``D`` from zero (VMC's idea, Jeong et al. 2023, with motion_distillation)."""

    def __init__(self, channels: int, lr: float | None = None) -> None:
        super().__init__(channels, lr)
        self.layers = nn.ModuleDict({key(name): nn.Linear(channels, channels, bias=False) for name in PROJECTIONS})
        for layer in self.layers.values():
            nn.init.zeros_(layer.weight)  # type: ignore[arg-type]

    @classmethod
    def check(cls, lr: float | None = None) -> None:  # type: ignore[override]
        check_rate(lr, "adapter 'temporal_attention'")

    @contextmanager
    def attached(self, attention: nn.Module) -> Iterator[None]:
        with ExitStack() as stack:
            for name in PROJECTIONS:
                change: Tensor = self.layers[key(name)].weight  # type: ignore[assignment]

                def after(_: nn.Module, inputs: tuple[Tensor, ...], output: Tensor, change: Tensor = change) -> Tensor:
                    return output + F.linear(inputs[0], change.to(output.dtype))

                stack.callback(attention.get_submodule(name).register_forward_hook(after).remove)
            yield
