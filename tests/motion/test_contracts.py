"""What every layout, integration and debias must do; a new entry is covered by being registered."""

from __future__ import annotations

import copy
from itertools import combinations, product
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers.models.attention_processor import Attention
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from motion_ablation.backbones import UNet3DBackbone
from motion_ablation.motion import MotionConfig, MotionEmbeddings, SiteConfig, StreamConfig
from motion_ablation.motion.adapters import ADAPTERS, APPEARANCES
from motion_ablation.motion.config import PORTS, SIDES
from motion_ablation.motion.debiases import DEBIASES
from motion_ablation.motion.integrations import INTEGRATIONS
from motion_ablation.motion.layouts import LAYOUTS
from motion_ablation.records import Site
from motion_ablation.registry import Registry
from motion_ablation.training import OptimizerConfig

Inputs = tuple[Tensor, Tensor, Tensor]
PAIRS = list(product(LAYOUTS, INTEGRATIONS))
few = settings(max_examples=25, deadline=None)
lengths = st.integers(1, 6)


def spec(axis: Registry[Any], name: str) -> dict[str, Any]:
    """An entry as a YAML names it, with its own example where an option has no default."""
    return {"name": name, **getattr(axis[name], "example", {})}


def built(axis: Registry[Any], name: str, **given: Any) -> Any:
    """An entry with its own example."""
    return axis.build(name, **getattr(axis[name], "example", {}), **given)


def motion_of(layout: str, integration: str, side: str = "inputs", shared: bool = True, debias: str = "none") -> MotionConfig:
    """Every port that the integration takes, by two streams of the same kind, at the widest sites of the whole network."""

    def stream(*ports: str) -> StreamConfig:
        chosen = spec(LAYOUTS, layout), spec(INTEGRATIONS, integration), spec(DEBIASES, debias)
        return StreamConfig(list(ports), side, *chosen, shared)

    first = [port for port in ("q", "k") if port in INTEGRATIONS[integration].ports]
    return MotionConfig(stream(*first), stream("v"), SiteConfig(["down", "up"], "widest"))


def randomise(module: nn.Module, scale: float = 0.5) -> None:
    """Embeddings away from their start."""
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter += scale * torch.randn(parameter.shape, generator=generator)


@pytest.mark.parametrize(
    ("layout", "integration", "side", "shared"),
    [(*pair, "inputs", True) for pair in PAIRS] + [("per_location", integration, "outputs", False) for integration in INTEGRATIONS],
)
def test_identity_then_learning_then_clean_detachment(
    backbone: UNet3DBackbone, sites: list[Site], inputs: Inputs, layout: str, integration: str, side: str, shared: bool
) -> None:
    with torch.no_grad():
        plain = backbone.denoise(*inputs)
    motion = MotionEmbeddings(motion_of(layout, integration, side, shared), sites)
    optimizer = torch.optim.AdamW(motion.parameters(), lr=0.02)

    with motion.attached(backbone.denoiser, sites):
        first = backbone.denoise(*inputs)
        if INTEGRATIONS[integration].lengthens:  # a mean over doubled tokens is the same mean, summed in another order
            torch.testing.assert_close(first, plain, atol=1e-5, rtol=1e-5)
        else:
            assert torch.equal(first, plain), "a new embedding changes nothing"
        (first - 1).square().mean().backward()
        for stream in motion.streams.values():
            gradients = [parameter.grad for parameter in stream.layout.parameters()]  # type: ignore[union-attr]
            assert any(gradient is not None and gradient.abs().max() > 0 for gradient in gradients), "it must learn from step 0"
        assert all(parameter.grad is None for parameter in backbone.parameters()), "nothing else does"

        optimizer.step()
        optimizer.zero_grad()
        second = backbone.denoise(*inputs)
        assert not torch.equal(second, plain)
        (second - 1).square().mean().backward()
        for name, parameter in motion.named_parameters():
            assert parameter.grad is not None and parameter.grad.abs().max() > 0, f"{name} is dead"

    with torch.no_grad():
        assert torch.equal(backbone.denoise(*inputs), plain), "detaching restores the backbone bit for bit"


class Block(nn.Module):
    """A temporal block of diffusers' own attentions, wide enough to hold any stream."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.attn1, self.attn2 = (Attention(channels, heads=2, dim_head=channels // 2) for _ in range(2))

    def forward(self, features: Tensor) -> Tensor:
        features = features + self.attn1(features)
        result: Tensor = features + self.attn2(features)
        return result


@st.composite
def streams(draw: st.DrawFn) -> StreamConfig:
    """Any layout by any integration at any ports that it takes, on either side, shared or not."""
    integration = draw(st.sampled_from(INTEGRATIONS.names()))
    choices = [list(ports) for size in (1, 2, 3) for ports in combinations(PORTS, size)]
    ports = ["k", "v"] if INTEGRATIONS[integration].lengthens else draw(st.sampled_from(choices))
    side, layout, shared = draw(st.sampled_from(SIDES)), draw(st.sampled_from(LAYOUTS.names())), draw(st.booleans())
    return StreamConfig(ports, side, spec(LAYOUTS, layout), spec(INTEGRATIONS, integration), shared=shared)


@settings(max_examples=150, deadline=None)
@given(streams(), st.integers(1, 2), st.integers(2, 6), *[st.integers(1, 4)] * 2, st.integers(2, 6), *[st.integers(1, 4)] * 2)
def test_any_stream_at_any_size(stream: StreamConfig, b: int, f: int, h: int, w: int, frames: int, height: int, width: int) -> None:
    torch.manual_seed(0)
    network = nn.ModuleDict({"block": Block(4)}).requires_grad_(False)
    motion = MotionEmbeddings(MotionConfig(qk=stream), [Site("block", "up", 4, f, h, w)])
    # At the trained size, and at another one that the same embedding must follow.
    for count, rows, columns in ((f, h, w), (frames, height, width)):
        features, seen = torch.randn(b * rows * columns, count, 4), [Site("block", "up", 4, count, rows, columns)]
        plain = network["block"](features)
        with motion.attached(network, seen):
            attached = network["block"](features)
        torch.testing.assert_close(attached, plain, atol=1e-6 if stream.lengthens else 0, rtol=1e-5 if stream.lengthens else 0)
        motion.zero_grad()
        (attached - torch.randn(attached.shape)).square().sum().backward()
        for part in motion.streams.values():
            gradients = [parameter.grad for parameter in part.layout.parameters()]  # type: ignore[union-attr]
            assert any(gradient is not None and gradient.abs().max() > 0 for gradient in gradients), "it must learn from step 0"
        assert all(parameter.grad is None for parameter in network.parameters())
        assert torch.equal(network["block"](features), plain), "detaching restores the network bit for bit"


@pytest.mark.parametrize("ports", [[port] for port in PORTS], ids=PORTS)
@pytest.mark.parametrize("side", SIDES)
def test_each_port_acts_alone(backbone: UNet3DBackbone, sites: list[Site], inputs: Inputs, ports: list[str], side: str) -> None:
    motion = MotionEmbeddings(MotionConfig(qk=StreamConfig(ports=ports, side=side)), sites)
    randomise(motion)
    with torch.no_grad():
        plain = backbone.denoise(*inputs)
        with motion.attached(backbone.denoiser, sites):
            assert not torch.equal(backbone.denoise(*inputs), plain)


def test_detached_after_an_error(backbone: UNet3DBackbone, sites: list[Site], inputs: Inputs) -> None:
    motion = MotionEmbeddings(MotionConfig.paper(), sites)
    randomise(motion)
    with torch.no_grad():
        plain = backbone.denoise(*inputs)
        with pytest.raises(KeyboardInterrupt), motion.attached(backbone.denoiser, sites):
            raise KeyboardInterrupt
        assert torch.equal(backbone.denoise(*inputs), plain)
    assert not any(module._forward_pre_hooks or module._forward_hooks for module in backbone.denoiser.modules())


def test_no_streams_is_the_plain_backbone(backbone: UNet3DBackbone, sites: list[Site], inputs: Inputs) -> None:
    motion = MotionEmbeddings(MotionConfig(), sites)
    assert motion.parameter_count == 0
    with torch.no_grad():
        plain = backbone.denoise(*inputs)
        with motion.attached(backbone.denoiser, sites, generating=True):
            assert torch.equal(backbone.denoise(*inputs), plain)


def test_shared_embeddings_are_fewer(sites: list[Site]) -> None:
    shared, own = (MotionEmbeddings(motion_of("per_frame", "add", shared=shared), sites) for shared in (True, False))
    assert own.parameter_count == 2 * shared.parameter_count


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize(("layout", "integration"), PAIRS)
def test_half_precision_features(layout: str, integration: str, dtype: torch.dtype) -> None:
    site = Site("block", "up", 6, 3, 2, 2)
    motion = MotionEmbeddings(motion_of(layout, integration), [site])
    stream = next(iter(motion.streams.values()))
    features = torch.randn(8, 3, 6).to(dtype)
    expected = torch.cat([features, features], 1) if INTEGRATIONS[integration].lengthens else features
    assert torch.equal(stream(features, stream.dense(3, 2, 2, False), 2, 2), expected)  # type: ignore[operator]


# Layouts: following other lengths and grids.


def layout_at(name: str, frames: int, height: int, width: int, channels: int = 3) -> nn.Module:
    layout: nn.Module = built(LAYOUTS, name, site=Site("block", "up", channels, frames, height, width), channels=channels)
    randomise(layout, 1.0)
    return layout


@few
@given(st.sampled_from(LAYOUTS.names()), *[lengths] * 6)
def test_layouts_spell_out_any_size(name: str, f: int, h: int, w: int, frames: int, height: int, width: int) -> None:
    layout = layout_at(name, f, h, w)
    dense = layout(frames, height, width)
    assert dense.shape in ((1, frames, 3), (height * width, frames, 3))
    assert torch.isfinite(dense).all()
    assert torch.equal(layout(f, h, w), layout(f, h, w))


@few
@given(st.sampled_from(LAYOUTS.names()), *[lengths] * 6)
def test_constant_rows_stay_constant(name: str, f: int, h: int, w: int, frames: int, height: int, width: int) -> None:
    layout = layout_at(name, f, h, w)
    with torch.no_grad():
        for parameter in layout.parameters():
            parameter.fill_(1.5)
    trained, resampled = layout(f, h, w), layout(frames, height, width)
    torch.testing.assert_close(resampled, trained[:1, :1].expand_as(resampled))


@few
@given(st.sampled_from(LAYOUTS.names()), *[lengths] * 3, st.integers(2, 12))
def test_resampling_in_time_keeps_the_end_points(name: str, f: int, h: int, w: int, frames: int) -> None:
    layout = layout_at(name, f, h, w)
    trained, resampled = layout(f, h, w), layout(frames, h, w)
    torch.testing.assert_close(resampled[:, 0], trained[:, 0])
    torch.testing.assert_close(resampled[:, -1], trained[:, -1])


@few
@given(*[lengths] * 3)
def test_the_trained_size_is_given_back_as_it_is(f: int, h: int, w: int) -> None:
    for name in ("per_frame", "per_location", "per_place"):
        layout = layout_at(name, f, h, w)
        assert torch.equal(layout(f, h, w), layout.rows.expand(-1, f, -1))  # type: ignore[operator, union-attr]


@few
@given(st.sampled_from(LAYOUTS.names()), *[lengths] * 3)
def test_a_layout_says_whether_it_can_differ_from_frame_to_frame(name: str, f: int, h: int, w: int) -> None:
    dense = layout_at(name, f, h, w)(f, h, w)
    assert LAYOUTS[name].moves or torch.equal(dense, dense[:, :1].expand_as(dense))
    assert f == 1 or not LAYOUTS[name].moves or not torch.equal(dense[:, 0], dense[:, 1])


def test_locations_are_row_major_and_batch_is_outermost() -> None:
    site = Site("block", "up", 1, 1, 2, 3)
    motion = MotionEmbeddings(MotionConfig(v=StreamConfig(["v"], layout={"name": "per_location"})), [site])
    stream = next(iter(motion.streams.values()))
    with torch.no_grad():
        stream.layout.rows.copy_(torch.arange(6.0).reshape(6, 1, 1))  # type: ignore[union-attr, operator]
    added = stream(torch.zeros(12, 1, 1), stream.dense(1, 2, 3, False), 2, 3).flatten()  # type: ignore[operator]
    assert added.tolist() == [0, 1, 2, 3, 4, 5] * 2
    # Twice as high: the upper half looks like the upper row.
    tall = stream.dense(1, 4, 3, False).reshape(4, 3)  # type: ignore[operator]
    assert tall[0].tolist() == [0, 1, 2]
    assert tall[3].tolist() == [3, 4, 5]


def test_a_coarse_grid_lies_between_one_dimension_and_two() -> None:
    site = Site("block", "up", 5, 4, 6, 8)
    counts = [LAYOUTS.build("coarse_grid", site=site, channels=5, size=size).rows.numel() for size in (1, 2, 4, 100)]
    assert counts == [4 * 5, 4 * 4 * 5, 16 * 4 * 5, 48 * 4 * 5]
    grid = layout_at("coarse_grid", 4, 6, 8)
    per_location = grid(4, 6, 8).unflatten(0, (6, 8))
    assert torch.equal(per_location[0, 0], grid.rows[0]), "corners are those of the grid"  # type: ignore[index]


def test_axial_and_low_rank_equal_their_definitions() -> None:
    axial = layout_at("axial", 2, 3, 4)
    dense = axial(2, 3, 4).unflatten(0, (3, 4))
    for y, x in product(range(3), range(4)):
        torch.testing.assert_close(dense[y, x], axial.rows[y] + axial.columns[x])  # type: ignore[index]
    low_rank = layout_at("low_rank", 2, 3, 4)
    maps, vectors = low_rank.maps, low_rank.vectors
    expected = sum(maps[r].flatten()[:, None, None] * vectors[r][None] for r in range(4))  # type: ignore[index, union-attr]
    torch.testing.assert_close(low_rank(2, 3, 4), expected)
    fresh = LAYOUTS.build("low_rank", site=Site("block", "up", 3, 2, 3, 4), channels=3, rank=100)
    flat = fresh.maps.flatten(1)
    assert len(flat) == 12, "no more maps than locations"
    products = flat @ flat.T
    torch.testing.assert_close(products, torch.diag(products.diagonal()), atol=1e-5, rtol=0)
    assert torch.equal(flat[0], torch.ones(12)), "the lowest map is constant"


COSTS = {"per_frame": 20, "per_place": 48 * 5, "coarse_grid": 80, "low_rank": 4 * 20 + 4 * 48, "axial": 14 * 20, "per_location": 48 * 20}


@pytest.mark.parametrize(("name", "count"), COSTS.items())
def test_layouts_cost_what_docs_axes_says(name: str, count: int) -> None:
    layout = LAYOUTS.build(name, site=Site("block", "up", 5, 4, 6, 8), channels=5)
    assert sum(parameter.numel() for parameter in layout.parameters()) == count


@pytest.mark.parametrize("axis", [LAYOUTS, INTEGRATIONS, ADAPTERS, APPEARANCES], ids=lambda axis: axis.axis)
def test_what_is_trained_says_whose_learning_rate_it_has(axis: Registry[Any]) -> None:
    for name in axis:
        OptimizerConfig().rate(axis[name])  # the class says its group, and the group has a rate


# Adapters.


@pytest.mark.parametrize("name", ADAPTERS)
def test_adapters_start_at_nothing_learn_and_come_off(
    backbone: UNet3DBackbone, sites: list[Site], inputs: Inputs, name: str, tmp_path: Path
) -> None:
    with torch.no_grad():
        plain = backbone.denoise(*inputs)
    tree = dict(backbone.denoiser.named_modules())
    motion = MotionEmbeddings(MotionConfig(adapter=spec(ADAPTERS, name)), sites)
    optimizer = torch.optim.AdamW(motion.parameters(), lr=0.01)
    for step in range(3):
        with motion.attached(backbone.denoiser, sites):
            output = backbone.denoise(*inputs)
        assert torch.equal(output, plain) == (step == 0)
        optimizer.zero_grad()
        (output - 1).square().mean().backward()
        optimizer.step()
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in motion.parameters()), "all of it learns"
    assert all(p.grad is None for p in backbone.parameters())
    assert dict(backbone.denoiser.named_modules()) == tree, "every module is in its place again"
    with torch.no_grad():
        assert torch.equal(backbone.denoise(*inputs), plain), "detaching restores the backbone bit for bit"
        motion.save(tmp_path / "motion.safetensors")
        again = MotionEmbeddings.load(tmp_path / "motion.safetensors")
        with motion.attached(backbone.denoiser, sites):
            changed = backbone.denoise(*inputs)
        with again.attached(backbone.denoiser, sites):
            assert torch.equal(backbone.denoise(*inputs), changed)
            assert not torch.equal(changed, plain)


@pytest.mark.parametrize("name", ADAPTERS)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_adapters_keep_the_precision_of_the_features(name: str, dtype: torch.dtype) -> None:
    network = nn.ModuleDict({"block": Block(4)}).requires_grad_(False).to(dtype)
    motion = MotionEmbeddings(MotionConfig(adapter=spec(ADAPTERS, name)), [Site("block", "up", 4, 3, 1, 1)])
    features = torch.randn(2, 3, 4).to(dtype)
    plain = network["block"](features)
    with motion.attached(network, motion.sites):
        attached = network["block"](features)
    assert torch.equal(attached, plain)
    attached.float().square().sum().backward()
    assert any(parameter.grad is not None and parameter.grad.abs().max() > 0 for parameter in motion.parameters())


@torch.no_grad()
def test_a_temporal_attention_adapter_is_a_change_of_weights(backbone: UNet3DBackbone, sites: list[Site], inputs: Inputs) -> None:
    motion = MotionEmbeddings(MotionConfig(adapter={"name": "temporal_attention"}), sites)
    randomise(motion, 0.05)
    with motion.attached(backbone.denoiser, sites):
        attached = backbone.denoise(*inputs)
    tuned = copy.deepcopy(backbone)
    for name, adapter in motion.adapters.items():
        for projection, layer in adapter.layers.items():  # type: ignore[union-attr, operator]
            tuned.denoiser.get_submodule(f"{name}.{projection}".replace("/", ".")).weight.add_(layer.weight)
    torch.testing.assert_close(attached, tuned.denoise(*inputs), atol=1e-5, rtol=1e-4)


@torch.no_grad()
def test_one_of_the_two_attentions(backbone: UNet3DBackbone, sites: list[Site], inputs: Inputs) -> None:
    outputs = []
    for attentions in (["attn1"], ["attn2"], ["attn1", "attn2"]):
        config = MotionConfig(v=StreamConfig(["v"], shared=False), sites=SiteConfig(attentions=attentions))
        motion = MotionEmbeddings(config, sites)
        assert all(name.rsplit("/", 1)[1] in attentions for name in motion.streams)
        randomise(motion)
        with motion.attached(backbone.denoiser, sites):
            outputs.append(backbone.denoise(*inputs))
    assert not torch.equal(outputs[0], outputs[1])
    assert not torch.equal(outputs[0], outputs[2])


# Debiases.


@pytest.mark.parametrize("name", DEBIASES)
@few
@given(n=st.integers(1, 4), f=lengths)
def test_debiases_keep_the_shape_and_their_input(name: str, n: int, f: int) -> None:
    motion = torch.randn(n, f, 2)
    before = motion.clone()
    debiased = built(DEBIASES, name)(motion)
    assert (debiased is None) == (name == "drop")
    assert debiased is None or debiased.shape == motion.shape
    assert torch.equal(motion, before)


@few
@given(lengths, st.integers(1, 8))
def test_difference_equals_a_loop(f: int, lag: int) -> None:
    motion = torch.randn(2, f, 3)
    expected = torch.stack([motion[:, t] - motion[:, t - lag] if t >= lag else motion[:, t] for t in range(f)], 1)
    assert torch.equal(DEBIASES.build("difference", lag=lag)(motion), expected)


@few
@given(lengths)
def test_mean_centred_equals_its_definition(f: int) -> None:
    motion = torch.randn(2, f, 3)
    expected = motion - sum(motion[:, t] for t in range(f))[:, None] / f  # type: ignore[index]
    torch.testing.assert_close(DEBIASES.build("mean_centred")(motion), expected)
    assert DEBIASES.build("mean_centred")(motion + 7).sub(expected).abs().max() < 1e-5, "what is constant in time is removed"


@pytest.mark.parametrize("integration", ["add", "concat_channel", "gated"])
def test_a_dropped_stream_is_not_there_when_generating(
    backbone: UNet3DBackbone, sites: list[Site], inputs: Inputs, integration: str
) -> None:
    motion = MotionEmbeddings(motion_of("per_location", integration, debias="drop"), sites)
    randomise(motion)
    with torch.no_grad():
        plain = backbone.denoise(*inputs)
        with motion.attached(backbone.denoiser, sites, generating=True):
            assert torch.equal(backbone.denoise(*inputs), plain)
        with motion.attached(backbone.denoiser, sites):
            assert not torch.equal(backbone.denoise(*inputs), plain)


@pytest.mark.parametrize(("when", "trains", "generates"), [("train", True, False), ("generate", False, True), ("both", True, True)])
def test_the_debias_acts_when_it_is_told_to(when: str, trains: bool, generates: bool) -> None:
    stream = StreamConfig(["v"], debias={"name": "difference"}, when=when)
    module = MotionEmbeddings(MotionConfig(v=stream), [Site("block", "up", 2, 3, 2, 2)])
    randomise(module)
    at = next(iter(module.streams.values()))
    raw = at.layout(3, 2, 2)  # type: ignore[union-attr, operator]
    for generating, acts in ((False, trains), (True, generates)):
        assert torch.equal(at.dense(3, 2, 2, generating), raw) != acts  # type: ignore[operator]


def test_debias_acts_only_when_generating(backbone: UNet3DBackbone, sites: list[Site], inputs: Inputs) -> None:
    results = {}
    for debias, generating in product(("none", "difference"), (False, True)):
        motion = MotionEmbeddings(motion_of("per_location", "add", debias=debias), sites)
        randomise(motion)
        with torch.no_grad(), motion.attached(backbone.denoiser, sites, generating):
            results[debias, generating] = backbone.denoise(*inputs)
    assert torch.equal(results["none", False], results["difference", False])
    assert torch.equal(results["none", False], results["none", True])
    assert not torch.equal(results["none", True], results["difference", True])


def test_a_trained_embedding_follows_another_clip(backbone: UNet3DBackbone, sites: list[Site]) -> None:
    motion = MotionEmbeddings(MotionConfig.paper(), sites)
    randomise(motion)
    frames, height, width = 6, 8, 20
    latents = torch.randn(1, *backbone.latent_shape(frames, height, width))
    text = backbone.embed(["a red star"])
    with torch.no_grad():
        plain = backbone.denoise(latents, torch.tensor([10]), text)
        with motion.attached(backbone.denoiser, backbone.sites(frames, height, width), generating=True):
            moved = backbone.denoise(latents, torch.tensor([10]), text)
    assert moved.shape == plain.shape
    assert not torch.equal(moved, plain)


def test_fused_projections_are_refused(backbone: UNet3DBackbone, sites: list[Site]) -> None:
    motion = MotionEmbeddings(MotionConfig.paper(), sites)
    attention = backbone.denoiser.get_submodule(f"{motion.sites[0].name}.attn1")
    attention.fused_projections = True
    try:
        with pytest.raises(ValueError, match="fused"), motion.attached(backbone.denoiser, sites):
            pytest.fail("the context was entered")
    finally:
        attention.fused_projections = False
    assert not any(module._forward_pre_hooks for module in backbone.denoiser.modules())


def test_another_backbone_is_refused(backbone: UNet3DBackbone, sites: list[Site]) -> None:
    elsewhere = MotionEmbeddings(MotionConfig.paper(), [Site("nowhere", "up", 8, 2, 2, 2)])
    with pytest.raises(ValueError, match="no temporal attention 'nowhere'"), elsewhere.attached(backbone.denoiser, sites):
        pass
    site = SiteConfig().select(sites)[0]
    wider = MotionEmbeddings(MotionConfig.paper(), [Site(site.name, site.stage, 320, 2, 2, 2)])
    with pytest.raises(ValueError, match="320 channels"), wider.attached(backbone.denoiser, sites):
        pass
