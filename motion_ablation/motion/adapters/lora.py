"""Low-rank adapters (LoRA, Hu et al. 2021) of frozen linear layers: peft's own, in their place inside a context and out of it after."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from torch import nn

from motion_ablation.records import key


def check_rank(rank: object, where: str) -> None:
    """Raises ``ValueError`` for a rank that is no whole number of at least 1."""
    if not isinstance(rank, int) or rank < 1:
        raise ValueError(f"{where}: rank must be a whole number of at least 1, not {rank!r}")


def low_rank(widths: Mapping[str, tuple[int, int]], rank: int, dropout: float = 0.0) -> nn.ModuleDict:
    """New adapters ``W x + B A x``, ``A`` random and ``B`` zero, of scale 1.

    Args:
        widths: inputs and outputs of each layer by its module path, which with slashes for dots is the adapter's name.
        dropout: share of ``x`` that ``A`` does not see in training.
    """
    from peft import LoraConfig, inject_adapter_in_model  # a second to import, which most runs need not wait for

    layers = nn.ModuleDict({key(name): nn.Linear(inputs, outputs, bias=False) for name, (inputs, outputs) in widths.items()})
    inject_adapter_in_model(LoraConfig(r=rank, lora_alpha=rank, lora_dropout=dropout, target_modules=list(layers)), layers)
    for layer in layers.values():
        layer.base_layer = nn.Identity()  # the frozen layer's place, while it is not adapted
    return layers


@contextmanager
def adapted(model: nn.Module, adapters: nn.ModuleDict, learning: bool = True) -> Iterator[None]:
    """Inside this context the adapters stand in ``model`` in place of the layers that they are named after, which work within them.

    Args:
        learning: whether gradients reach the adapters; through them they go on either way.
    """
    layers = {name.replace("/", "."): adapter for name, adapter in adapters.items()}
    frozen = {name: model.get_submodule(name) for name in layers}
    if any(layer is adapter for layer, adapter in zip(frozen.values(), layers.values(), strict=True)):
        raise RuntimeError("these adapters are in their place already: a context that should have ended has not")
    adapters.requires_grad_(learning)
    try:
        for name, adapter in layers.items():
            adapter.base_layer = frozen[name]
            model.set_submodule(name, adapter)
        yield
    finally:
        for name, adapter in layers.items():
            model.set_submodule(name, frozen[name])
            adapter.base_layer = nn.Identity()
        adapters.requires_grad_()
