"""Gradient checkpointing: the same numbers, less kept, and where it acts in each backbone."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from motion_ablation.backbones import BACKBONES
from motion_ablation.backbones.checkpointing import blocks_of, recompute

WIDTH = 8


class Layer(nn.Module):
    """A frozen block that takes a second tensor by name, and draws at random."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.outer, self.dropout = nn.Linear(WIDTH, 4 * WIDTH), nn.Linear(4 * WIDTH, WIDTH), nn.Dropout(0.5)

    def forward(self, x: Tensor, shift: Tensor) -> tuple[Tensor]:
        return (x + self.outer(self.dropout(self.inner(x + shift).sigmoid())),)


class Network(nn.Module):
    """Two lists of blocks, one of them deeper."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList([Layer(), Layer()])
        self.deeper = nn.Sequential(nn.ModuleDict({"layers": nn.ModuleList([Layer()]), "others": nn.ModuleList([Layer()])}))
        self.requires_grad_(False)

    def forward(self, x: Tensor, shift: Tensor) -> Tensor:
        for layer in [*self.layers, *self.deeper[0]["layers"], *self.deeper[0]["others"]]:
            (x,) = layer(x, shift=shift)
        return x


@pytest.fixture
def networks() -> tuple[Network, Network]:
    """A network, and the same one with blocks that are recomputed."""
    plain = Network()
    thrifty = copy.deepcopy(plain)
    recompute(blocks_of(thrifty, ("layers", "others")))
    return plain, thrifty


def bytes_kept(run: Callable[[], Any]) -> int:
    """Bytes that autograd holds for the backward pass of ``run``, told by its own hooks."""
    kept: dict[int, Tensor] = {}

    def pack(tensor: Tensor) -> Tensor:
        kept[tensor.data_ptr()] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        run()
    return sum(tensor.untyped_storage().nbytes() for tensor in kept.values())


def test_blocks_are_found_by_the_names_of_their_lists() -> None:
    network = Network()
    deep, others = network.deeper[0]["layers"][0], network.deeper[0]["others"][0]
    assert blocks_of(network, ("layers",)) == [*network.layers, deep]
    assert blocks_of(network, ("others",)) == [others]
    assert blocks_of(network, ("deeper", "inner")) == [], "no list of blocks"


def test_outputs_gradients_and_random_draws_are_the_same_bit_for_bit(networks: tuple[Network, Network]) -> None:
    found = []
    for network in networks:
        torch.manual_seed(1)
        x, shift = (torch.randn(3, WIDTH, requires_grad=True) for _ in range(2))
        output = network(x, shift)
        found.append((output, *torch.autograd.grad(output.square().sum(), (x, shift)), torch.rand(1)))
    assert all(torch.equal(plain, thrifty) for plain, thrifty in zip(*found, strict=True))


def test_a_block_runs_twice_in_training_and_once_where_no_gradient_is_taken(networks: tuple[Network, Network]) -> None:
    x, runs = torch.randn(3, WIDTH, requires_grad=True), []
    networks[1].layers[1].inner.register_forward_hook(lambda *_: runs.append(1))
    networks[1](x, x).sum().backward()
    assert len(runs) == 2
    with torch.no_grad():
        networks[1](x, x)
    assert len(runs) == 3


def test_less_is_kept(networks: tuple[Network, Network]) -> None:
    x = torch.randn(50, WIDTH, requires_grad=True)
    plain, thrifty = (bytes_kept(lambda network=network: network(x, x)) for network in networks)
    assert thrifty < plain / 3


def test_paths_and_weights_stay(networks: tuple[Network, Network]) -> None:
    plain, thrifty = networks
    assert [path for path, _ in plain.named_modules()] == [path for path, _ in thrifty.named_modules()]
    assert plain.state_dict().keys() == thrifty.state_dict().keys()


@pytest.mark.parametrize("name", [name for name in BACKBONES if hasattr(BACKBONES[name], "recomputed")])
def test_the_blocks_hold_most_of_the_denoiser(name: str, tiny_options: dict[str, dict[str, Any]]) -> None:
    denoiser = BACKBONES.build(name, **tiny_options[name]).denoiser
    for names in BACKBONES[name].recomputed:
        assert blocks_of(denoiser, (names,)), f"no list of blocks is called {names}"
    inside = {id(p) for block in blocks_of(denoiser, BACKBONES[name].recomputed) for p in block.parameters()}
    share = sum(p.numel() for p in denoiser.parameters() if id(p) in inside) / sum(p.numel() for p in denoiser.parameters())
    assert share > 0.5
