"""Low-rank additions to frozen linear layers (LoRA, Hu et al. 2021), by forward hooks: removing them leaves the layer as it was."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class LowRankLinear(nn.Module):
    """``x A B`` with ``A`` ``(inputs, rank)`` random and ``B`` ``(rank, outputs)`` zero: a new one adds nothing."""

    def __init__(self, inputs: int, outputs: int, rank: int) -> None:
        super().__init__()
        if not isinstance(rank, int) or rank < 1:
            raise ValueError(f"rank must be a whole number of at least 1, not {rank!r}")
        self.down = nn.Parameter(torch.randn(inputs, min(rank, inputs, outputs)) / inputs**0.5)
        self.up = nn.Parameter(torch.zeros(self.down.shape[1], outputs))

    def forward(self, x: Tensor) -> Tensor:
        return x @ self.down.to(x.dtype) @ self.up.to(x.dtype)


@contextmanager
def added(pairs: list[tuple[nn.Module, nn.Module]], learning: bool = True) -> Iterator[None]:
    """Inside this context each layer's output gains its addition's, ``layer(x) + addition(x)``.

    Args:
        pairs: layers and additions. learning: whether gradients reach the additions.
    """

    def after(addition: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        with torch.set_grad_enabled(torch.is_grad_enabled() and learning):
            extra: Tensor = addition(inputs[0])
        return output + extra

    def hook(addition: nn.Module):  # type: ignore[no-untyped-def]
        return lambda _, inputs, output: after(addition, inputs, output)

    handles = [layer.register_forward_hook(hook(addition)) for layer, addition in pairs]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
