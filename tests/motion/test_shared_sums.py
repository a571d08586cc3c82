"""Projections of an attention that take the same features compute the sum with their embedding once."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from motion_ablation.backbones import UNet3DBackbone
from motion_ablation.motion import MotionConfig, MotionEmbeddings
from motion_ablation.motion.embeddings import Application
from motion_ablation.records import Site


class Counting:
    """A stream that adds one and counts how often it was asked."""

    def __init__(self) -> None:
        self.calls = 0

    def dense(self, frames: int, height: int, width: int, generating: bool) -> Tensor:
        return torch.ones(1, frames, 2)

    def __call__(self, features: Tensor, motion: Tensor, height: int, width: int) -> Tensor:
        self.calls += 1
        return features + motion


def application(uses: int) -> tuple[Application, Counting]:
    stream = Counting()
    return Application(stream, Site("block", "down", 2, 4, 1, 1), False, uses), stream


def test_the_same_features_are_integrated_once_for_all_their_projections() -> None:
    apply, stream = application(2)
    features = torch.zeros(3, 4, 2)
    first, second = apply(features), apply(features)
    assert first is second and stream.calls == 1
    assert apply._shared is None, "nothing is held once the last projection has had it"
    assert torch.equal(apply(features), first) and stream.calls == 2, "the next pass computes it again"


def test_other_features_are_never_given_the_old_sum() -> None:
    apply, stream = application(2)
    features = torch.zeros(3, 4, 2)
    apply(features)
    equal = features.clone()
    assert apply(equal) is not apply._integrate(features)
    assert stream.calls == 3 and torch.equal(apply(features + 1), torch.full((3, 4, 2), 2.0))


@pytest.mark.parametrize(("side", "per_attention"), [("inputs", 2), ("outputs", 3)])
def test_q_and_k_share_where_they_take_the_same(
    backbone: UNet3DBackbone, sites: list[Site], inputs: tuple[Tensor, Tensor, Tensor], side: str, per_attention: int
) -> None:
    config = MotionConfig.paper()
    for stream in config.streams().values():
        stream.side = side
    motion = MotionEmbeddings(config, sites)
    calls: list[int] = []
    streams: Any = motion.streams.values()
    hooks = [stream.register_forward_hook(lambda *_: calls.append(1)) for stream in streams]
    with motion.attached(backbone.denoiser, sites):
        backbone.denoise(*inputs)
    for hook in hooks:
        hook.remove()
    assert len(calls) == per_attention * sum(len(site.attentions) for site in motion.sites)
