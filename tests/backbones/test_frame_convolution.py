"""Convolutions over frames alone."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from motion_ablation.backbones.frame_convolution import FrameConvolution, convolve_frames_flat


@pytest.mark.parametrize("options", [{"padding": (1, 0, 0)}, {"stride": (2, 1, 1)}, {"dilation": (2, 1, 1)}, {"groups": 2, "bias": False}])
def test_it_gives_what_the_three_dimensional_one_gives(options: dict[str, object]) -> None:
    torch.manual_seed(0)
    plain = nn.Conv3d(4, 6, (3, 1, 1), **options)  # type: ignore[arg-type]
    frames = torch.randn(2, 4, 7, 5, 3, requires_grad=True)

    def results() -> list[torch.Tensor]:
        made = plain(frames)
        grads = torch.autograd.grad(made.square().sum(), [frames, *plain.parameters()])
        return [made.detach(), *grads]

    before = results()
    convolve_frames_flat(plain)
    assert type(plain) is FrameConvolution
    for old, new in zip(before, results(), strict=True):
        torch.testing.assert_close(new, old, rtol=1e-5, atol=1e-5)


def test_only_convolutions_over_frames_alone_change() -> None:
    layers = [nn.Conv3d(2, 2, 3), nn.Conv3d(2, 2, (3, 1, 1), padding=1), nn.Conv3d(2, 2, (3, 1, 1), stride=2), nn.Conv2d(2, 2, 1)]
    layers.append(nn.Conv3d(2, 2, (3, 1, 1), padding="same"))
    network = nn.Sequential(*layers, nn.Conv3d(2, 2, (3, 1, 1)))
    names = list(network.state_dict())
    convolve_frames_flat(network)
    assert [type(layer) is FrameConvolution for layer in network] == [False] * 5 + [True]
    assert list(network.state_dict()) == names
