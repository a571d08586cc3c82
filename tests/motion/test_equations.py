"""The paper's equations, written out densely, against motion attached to a diffusers network."""

from __future__ import annotations

import types
from typing import Any

import pytest
import torch
from einops import rearrange
from torch import Tensor, nn

from motion_ablation.backbones import UNet3DBackbone
from motion_ablation.motion import MotionConfig, MotionEmbeddings
from motion_ablation.records import Site

FRAMES, SIZE = 4, 16


def attention(layer: Any, features: Tensor, m_qk: Tensor, m_v: Tensor) -> Tensor:
    """``softmax(Q K^T / sqrt(d)) V W_o`` with ``Q = (F + M_qk) W_q``, ``K = (F + M_qk) W_k``, ``V = (F + M_v) W_v``.

    ``features`` is ``(b h w, f, c)``, ``m_qk`` ``(1, f, c)``, ``m_v`` ``(b h w, f, c)``.
    """
    queries = (features + m_qk) @ layer.to_q.weight.T
    keys = (features + m_qk) @ layer.to_k.weight.T
    values = (features + m_v) @ layer.to_v.weight.T
    outputs = []
    width = queries.shape[-1] // layer.heads
    for head in range(layer.heads):
        part = slice(head * width, (head + 1) * width)
        scores = torch.einsum("nid,njd->nij", queries[..., part], keys[..., part]) / width**0.5
        weights = scores.exp() / scores.exp().sum(-1, keepdim=True)
        outputs.append(torch.einsum("nij,njd->nid", weights, values[..., part]))
    return torch.cat(outputs, -1) @ layer.to_out[0].weight.T + layer.to_out[0].bias


def normed(layer: nn.LayerNorm, features: Tensor) -> Tensor:
    centred = features - features.mean(-1, keepdim=True)
    return centred / (centred.square().mean(-1, keepdim=True) + layer.eps).sqrt() * layer.weight + layer.bias


def dense_block(block: Any, features: Tensor, m_qk: Tensor, m_v1: Tensor, m_v2: Tensor) -> Tensor:
    """A temporal transformer block with motion; ``m_v`` are ``(h w, f, c)``, tiled over the batch in (b, h, w) order."""
    batch = len(features) // len(m_v1)
    m_v1, m_v2 = (torch.cat([m] * batch) for m in (m_v1, m_v2))
    features = features + attention(block.attn1, normed(block.norm1, features), m_qk, m_v1)
    features = features + attention(block.attn2, normed(block.norm2, features), m_qk, m_v2)
    return features + block.ff(normed(block.norm3, features))


@pytest.fixture
def motion(sites: list[Site]) -> MotionEmbeddings:
    """The paper's streams, all embeddings random."""
    module = MotionEmbeddings(MotionConfig.paper(), sites)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.randn(parameter.shape) * 0.5)
    return module


def embeddings_at(motion: MotionEmbeddings, site: Site) -> tuple[Tensor, Tensor, Tensor]:
    """``M_qk``, ``M_v1`` and ``M_v2`` of a site, by the names in the state dict."""
    state, name = motion.state_dict(), site.name.replace(".", "/")
    owners = (f"qk:{name}", f"v:{name}/attn1", f"v:{name}/attn2")
    m_qk, m_v1, m_v2 = (state[f"streams.{owner}.layout.rows"] for owner in owners)
    assert m_qk.shape == (1, site.frames, site.channels)
    assert m_v1.shape == m_v2.shape == (site.height * site.width, site.frames, site.channels)
    return m_qk, m_v1, m_v2


@torch.no_grad()
def test_every_chosen_block_follows_the_equations(backbone: UNet3DBackbone, sites: list[Site], motion: MotionEmbeddings) -> None:
    assert motion.sites
    for site in motion.sites:
        assert site.height * site.width > 1
        block = backbone.denoiser.get_submodule(site.name)
        features = torch.randn(3 * site.height * site.width, site.frames, site.channels)
        plain = block(features)
        with motion.attached(backbone.denoiser, sites):
            attached = block(features)
        torch.testing.assert_close(attached, dense_block(block, features, *embeddings_at(motion, site)), atol=1e-5, rtol=1e-5)
        assert (attached - plain).abs().max() > 0.01, "the embeddings are large enough to tell"


@torch.no_grad()
def test_the_oracle_can_fail(backbone: UNet3DBackbone, sites: list[Site], motion: MotionEmbeddings) -> None:
    """V with ``M_qk`` in it, or the two ``M_v`` exchanged, is another model."""
    site = motion.sites[0]
    block = backbone.denoiser.get_submodule(site.name)
    features = torch.randn(2 * site.height * site.width, site.frames, site.channels)
    m_qk, m_v1, m_v2 = embeddings_at(motion, site)
    right = dense_block(block, features, m_qk, m_v1, m_v2)
    for wrong in ((m_qk, m_v1 + m_qk, m_v2 + m_qk), (m_qk, m_v2, m_v1), (0 * m_qk, m_v1, m_v2)):
        assert (dense_block(block, features, *wrong) - right).abs().max() > 1e-3


@torch.no_grad()
@pytest.mark.parametrize("generating", [False, True])
def test_the_whole_network_follows_the_equations(
    backbone: UNet3DBackbone,
    sites: list[Site],
    motion: MotionEmbeddings,
    inputs: tuple[Tensor, Tensor, Tensor],
    generating: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with motion.attached(backbone.denoiser, sites, generating):
        attached = backbone.denoise(*inputs)
    for site in motion.sites:
        m_qk, m_v1, m_v2 = embeddings_at(motion, site)
        if generating:  # M_v[t] - M_v[t - 1], frame 0 kept; M_qk is left alone
            m_v1, m_v2 = (torch.cat([m[:, :1], m[:, 1:] - m[:, :-1]], 1) for m in (m_v1, m_v2))

        def forward(self: Any, hidden_states: Tensor, *_: Any, streams: Any = (m_qk, m_v1, m_v2), **__: Any) -> Tensor:
            return dense_block(self, hidden_states, *streams)

        block = backbone.denoiser.get_submodule(site.name)
        monkeypatch.setattr(block, "forward", types.MethodType(forward, block))
    torch.testing.assert_close(attached, backbone.denoise(*inputs), atol=2e-5, rtol=1e-4)


@torch.no_grad()
def test_features_reach_a_block_in_batch_height_width_order(
    backbone: UNet3DBackbone, sites: list[Site], motion: MotionEmbeddings, inputs: tuple[Tensor, Tensor, Tensor]
) -> None:
    """What the tiling of ``M_v`` rests on, seen at the input of the enclosing temporal transformer."""
    site = motion.sites[0]
    transformer: Any = backbone.denoiser.get_submodule(site.name.rsplit(".transformer_blocks", 1)[0])
    seen: dict[str, Tensor] = {}
    hooks = [
        transformer.norm.register_forward_hook(lambda _, __, output: seen.update(normed=output)),
        transformer.proj_in.register_forward_hook(lambda _, inputs, __: seen.update(sequence=inputs[0])),
    ]
    backbone.denoise(*inputs)
    for hook in hooks:
        hook.remove()
    expected = rearrange(seen["normed"], "b c f h w -> (b h w) f c")
    assert torch.equal(seen["sequence"], expected)
    assert seen["normed"].shape[-3:] == (site.frames, site.height, site.width)
