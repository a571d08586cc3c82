"""Each objective against its definition, written as loops."""

from __future__ import annotations

import math
import re

import pytest
import torch
from torch import Tensor

from motion_ablation.objectives import OBJECTIVES


@pytest.fixture
def pair() -> tuple[Tensor, Tensor]:
    return torch.randn(2, 3, 5, 2, 2), torch.randn(2, 3, 5, 2, 2)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_a_perfect_output_costs_nothing_and_another_does(name: str, pair: tuple[Tensor, Tensor]) -> None:
    objective = OBJECTIVES.build(name, **OBJECTIVES[name].example)
    predicted, target = pair
    assert objective(target, target).item() == pytest.approx(0, abs=1e-6)
    assert objective(predicted, target).item() > 0.1
    assert objective(predicted.bfloat16(), target.bfloat16()).dtype == torch.float32


def test_appearance_debiased_equals_its_definition(pair: tuple[Tensor, Tensor]) -> None:
    predicted, target = pair
    anchor = int(torch.randint(5, (1,), generator=torch.Generator().manual_seed(4)))
    errors = []
    for f in range(5):
        ours, theirs = (math.sqrt(2) * video[:, :, f] - video[:, :, anchor] for video in pair)
        errors.append((ours - theirs).square().mean())
    expected = (predicted - target).square().mean() + sum(errors) / 5
    loss = OBJECTIVES.build("appearance_debiased")(predicted, target, torch.Generator().manual_seed(4))
    torch.testing.assert_close(loss, expected)


def test_appearance_debiased_weighs_what_all_frames_share_less(pair: tuple[Tensor, Tensor]) -> None:
    _, target = pair
    debiased = OBJECTIVES.build("appearance_debiased")
    plain = OBJECTIVES.build("denoising")
    shared, moving = torch.ones_like(target), torch.randn(target.shape).sign()
    assert plain(target + shared, target).item() == pytest.approx(plain(target + moving, target).item())
    assert debiased(target + shared, target).item() < 0.5 * debiased(target + moving, target).item()


def test_motion_distillation_equals_its_definition(pair: tuple[Tensor, Tensor]) -> None:
    predicted, target = pair
    cosines = []
    for b in range(2):
        for f in range(4):
            ours, theirs = ((video[b, :, f + 1] - video[b, :, f]).flatten() for video in pair)
            cosines.append(ours @ theirs / (ours.norm() * theirs.norm()))
    objective = OBJECTIVES.build("motion_distillation")
    torch.testing.assert_close(objective(predicted, target), 1 - sum(cosines) / 8)
    torch.testing.assert_close(objective(predicted + 5, 3 * target), objective(predicted, target)), "appearance and speed are not seen"
    assert objective(-target, target).item() == pytest.approx(2)
    with pytest.raises(ValueError, match="at least 2"):
        objective(predicted[:, :, :1], target[:, :, :1])


def test_absolute_motion_distillation_cannot_tell_a_motion_from_its_reverse(pair: tuple[Tensor, Tensor]) -> None:
    """As VMC's released code has it; each change written out."""
    predicted, target = pair
    cosines = []
    for b in range(2):
        for f in range(4):
            ours, theirs = ((video[b, :, f + 1] - video[b, :, f]).abs().flatten() for video in pair)
            cosines.append(ours @ theirs / (ours.norm() * theirs.norm()))
    objective = OBJECTIVES.build("motion_distillation", absolute=True)
    torch.testing.assert_close(objective(predicted, target), 1 - sum(cosines) / 8)
    assert objective(target.flip(2), target.flip(2)).item() == pytest.approx(0, abs=1e-6)
    assert objective(-target, target).item() == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("appearance_debiased", {"alpha": 0}, "alpha must be positive"),
        ("appearance_debiased", {"alfa": 1}, "has no option 'alfa'. Options: alpha, weight"),
    ],
)
def test_options_that_cannot_work(name: str, options: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        OBJECTIVES.build(name, **options)
