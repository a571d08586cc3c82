"""Gradient checkpointing (Chen et al. 2016): frozen blocks run again in the backward pass, so that what is inside them need not be kept."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint


def blocks_of(model: nn.Module, lists: Collection[str]) -> list[nn.Module]:
    """The members of those module lists of ``model``, at any depth, that have one of these names, such as ``attentions``."""
    named = (module for path, module in model.named_modules() if path.rpartition(".")[2] in lists)
    return [block for module in named if isinstance(module, nn.ModuleList) for block in module]


def recompute(blocks: Iterable[nn.Module]) -> None:
    """Makes each block keep its inputs for the backward pass, not what it computes on the way; the backward pass runs it again.

    Outputs and gradients stay the same, random draws too, and so do the paths of modules and weights. Where no gradient is taken, as in
    generation, each block runs once, as ever. What is hooked into a block must still be there in the backward pass, which is what
    ``Backbone.recomputes`` says.
    """
    for block in blocks:
        block.forward = partial(_kept_by_inputs, block.forward)


def _kept_by_inputs(forward: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    if not torch.is_grad_enabled():
        return forward(*args, **kwargs)
    return checkpoint(forward, *args, use_reentrant=False, **kwargs)
