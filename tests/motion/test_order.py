"""Token orders: rows of frames, and one joint sequence of text, frames and places."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from diffusers.models.attention_processor import Attention
from einops import rearrange
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from motion_ablation.motion import MotionConfig, MotionEmbeddings, SiteConfig, StreamConfig
from motion_ablation.motion.order import join, split
from motion_ablation.records import Site

few = settings(max_examples=40, deadline=None)
sizes = st.integers(1, 4)
STREAMS = {
    "qk": StreamConfig(),
    "v": StreamConfig(["v"], layout={"name": "per_location"}, shared=False),
}


def joint(f: int, h: int, w: int, skip: int, channels: int = 4) -> Site:
    return Site("block", "blocks", channels, f, h, w, ("attn1",), "joint", skip)


@few
@given(*[sizes] * 4, st.integers(0, 5))
def test_join_is_the_inverse_of_split(b: int, f: int, h: int, w: int, skip: int) -> None:
    site = joint(f, h, w, skip)
    features = torch.randn(b, skip + f * h * w, 4)
    text, video = split(features, site)
    assert text.shape == (b, skip, 4) and video.shape == (b * h * w, f, 4)
    assert torch.equal(join(text, video, features, site), features)
    assert torch.equal(video, rearrange(features[:, skip:], "b (f h w) c -> (b h w) f c", f=f, h=h, w=w))
    rows = Site("block", "up", 4, f, h, w)
    assert split(video, rows)[1] is video and join(text, video, video, rows) is video


def test_another_length_is_refused() -> None:
    site, features = joint(3, 2, 2, 1), torch.randn(1, 13, 4)
    text, video = split(features, site)
    with pytest.raises(ValueError, match="'block' has positions for 13 tokens, not for 25"):
        join(text, torch.cat([video, video], 1), features, site)
    for tokens in (4, 12, 14):
        with pytest.raises(ValueError, match=f"'block' sees {tokens} tokens, not 1 of text and whole frames of 4 places"):
            split(torch.randn(1, tokens, 4), site)


class Joint(nn.Module):
    """A block whose attention sees one joint sequence, and what its projections were given."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.attn1 = Attention(channels, heads=2, dim_head=channels // 2)
        self.seen: dict[str, Tensor] = {}

    def forward(self, features: Tensor) -> Tensor:
        hooks = [
            self.attn1.get_submodule(f"to_{port}").register_forward_pre_hook(
                lambda _, inputs, port=port: self.seen.update({port: inputs[0]})
            )
            for port in "qkv"
        ]
        result: Tensor = self.attn1(features)
        for hook in hooks:
            hook.remove()
        return result


@few
@given(*[sizes] * 4, st.integers(0, 3), st.booleans())
def test_text_is_untouched_and_the_video_gets_what_rows_get(b: int, f: int, h: int, w: int, skip: int, generating: bool) -> None:
    torch.manual_seed(0)
    site, network = joint(f, h, w, skip), nn.ModuleDict({"block": Joint(4)}).requires_grad_(False)
    motion = MotionEmbeddings(MotionConfig(**STREAMS, sites=SiteConfig(["blocks"])), [site])
    features = torch.randn(b, skip + f * h * w, 4)
    plain = network["block"](features)
    with motion.attached(network, [site], generating):
        assert torch.equal(network["block"](features), plain), "zero motion is the bare network"
    for parameter in motion.parameters():
        nn.init.normal_(parameter)
    with motion.attached(network, [site], generating):
        network["block"](features)
    state = motion.state_dict()
    added = {"q": state["streams.qk:block.layout.rows"], "v": state["streams.v:block/attn1.layout.rows"]}
    for port, rows in added.items():
        given = network["block"].seen[port]
        assert torch.equal(given[:, :skip], features[:, :skip]), "text"
        frames = rows.expand(h * w, -1, -1).unflatten(0, (h, w))
        torch.testing.assert_close(given[:, skip:], features[:, skip:] + rearrange(frames, "h w f c -> 1 (f h w) c"))
    assert torch.equal(network["block"].seen["k"], network["block"].seen["q"])
    assert torch.equal(network["block"](features), plain), "detaching restores it"


def test_tokens_are_not_added_to_a_joint_sequence() -> None:
    config = MotionConfig(v=StreamConfig(["k", "v"], integration={"name": "concat_token"}), sites=SiteConfig(["blocks"]))
    with pytest.raises(ValueError, match=r"^motion.v: concat_token [^\n]* fixed length[^\n]*$"):
        MotionEmbeddings(config, [joint(3, 2, 2, 0)])


def test_the_order_is_kept_in_the_file(tmp_path: Path) -> None:
    motion = MotionEmbeddings(MotionConfig(qk=StreamConfig(), sites=SiteConfig(["blocks"])), [joint(3, 2, 2, 7)])
    motion.save(tmp_path / "motion.safetensors")
    assert MotionEmbeddings.load(tmp_path / "motion.safetensors").sites == motion.sites
