"""The optimizer of pretraining."""

from __future__ import annotations

import copy

import torch
from torch import nn

from motion_ablation.pretrain.optimizer import MuonAdamW


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 6, 3), nn.Flatten(), nn.Linear(24, 5))


def learn(model: nn.Module, optimizer: torch.optim.Optimizer, steps: int) -> float:
    inputs = torch.randn(16, 3, 4, 4, generator=torch.Generator().manual_seed(1))
    targets = inputs.flatten(1)[:, :5].sin()
    loss = torch.tensor(0.0)
    for _ in range(steps):
        optimizer.zero_grad()
        loss = (model(inputs) - targets).square().mean()
        loss.backward()
        optimizer.step()
    return float(loss.detach())


def test_it_learns_and_moves_every_direction_of_a_matrix_alike() -> None:
    model = network()
    before = [copy.deepcopy(layer.weight.detach()) for layer in (model[0], model[2])]  # type: ignore[union-attr, arg-type]
    optimizer = MuonAdamW(model, lr=0.02, weight_decay=0.0)
    first = learn(model, optimizer, 1)
    for old, layer in zip(before, (model[0], model[2]), strict=True):
        moved = (layer.weight.detach() - old).flatten(1)  # type: ignore[union-attr, operator]
        values = torch.linalg.svdvals(moved)
        assert values.min() > 0.5 * values.max(), "a plain gradient of 16 examples is nowhere near that"
    assert learn(model, optimizer, 60) < first / 3


def test_vectors_and_named_layers_are_adamw_s() -> None:
    optimizer = MuonAdamW(network(), lr=0.02, plain=("2.",))
    assert [tuple(flat.shape) for flat in optimizer.flat] == [(6, 27)]
    assert [tuple(parameter.shape) for parameter in optimizer.param_groups[0]["params"]] == [(6,), (5, 24), (5,)]
    assert optimizer.param_groups[0]["lr"] == 0.4 * 0.02


def test_a_schedule_moves_both_and_a_resumed_run_goes_on_alike() -> None:
    model = network()
    optimizer = MuonAdamW(model, lr=0.02)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 0.5)
    learn(model, optimizer, 5)
    schedule.step()
    assert optimizer.muon.param_groups[0]["lr"] == 0.01
    other = network()
    other.load_state_dict(model.state_dict())
    again = MuonAdamW(other, lr=0.02)
    again.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    learn(model, optimizer, 3)
    learn(other, again, 3)
    for one, two in zip(model.parameters(), other.parameters(), strict=True):
        assert torch.equal(one, two)
