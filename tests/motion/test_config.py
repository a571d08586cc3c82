"""What a motion configuration refuses, before any weight is there."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import pytest

from motion_ablation.motion import MotionConfig, SiteConfig, StreamConfig
from motion_ablation.records import Site

SITES = [
    Site("transformer_in.0", "in", 16, 4, 8, 8),
    Site("down.0", "down", 16, 4, 8, 8),
    Site("down.1", "down", 32, 4, 4, 4),
    Site("mid.0", "mid", 64, 4, 4, 4),
    Site("up.0", "up", 32, 4, 4, 4),
]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"ports": ["q", "x"]}, r"motion.qk.ports: \['q', 'x'\] is not a non-empty choice of q, k, v"),
        ({"ports": []}, r"motion.qk.ports"),
        ({"ports": ["q", "q"]}, r"each at most once"),
        ({"side": "middle"}, r"motion.qk.side: 'middle' is not one of inputs, outputs"),
        (
            {"layout": {"name": "per_fram"}},
            r"motion.qk.layout: unknown layout 'per_fram'. Did you mean 'per_frame'\? Choices: .*per_location",
        ),
        ({"layout": {"name": "per_frame", "size": 2}}, r"motion.qk.layout: layout 'per_frame' has no option 'size'"),
        ({"layout": {}}, r"motion.qk.layout: give a layout as {name: ...}. Choices: .*per_frame"),
        ({"layout": {"name": "coarse_grid", "size": 0}}, r"size must be a whole number of at least 1, not 0"),
        (
            {"integration": {"name": "concat_chanel"}},
            r"motion.qk.integration: unknown integration 'concat_chanel'. Did you mean 'concat_channel'\?",
        ),
        ({"integration": {"name": "concat_token"}}, r"motion.qk: integration 'concat_token' works at ports k and v only, not at q"),
        ({"when": "always"}, r"motion.qk.when: 'always' is not one of train, generate, both"),
        ({"debias": {"name": "drop"}, "when": "both"}, r"leaves nothing to train"),
        ({"layout": {"name": "low_rank", "rank": 0}}, r"rank must be a whole number of at least 1, not 0"),
        ({"debias": {"name": "difference", "lag": 1.5}}, r"lag must be a whole number of at least 1"),
        ({"layout": {"name": "per_place"}, "debias": {"name": "difference"}}, r"motion.qk.debias: 'difference' erases .*'per_place' holds"),
        ({"layout": {"name": "per_place"}, "debias": {"name": "mean_centred"}}, r"'mean_centred' erases"),
    ],
)
def test_a_stream_that_cannot_work_names_its_place(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MotionConfig(qk=StreamConfig(**options)).check()


TOKENS = {"name": "concat_token"}


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (MotionConfig(v=StreamConfig(["v"], integration=TOKENS)), r"must lengthen k and v, each once, not v"),
        (MotionConfig(StreamConfig(["k"], integration=TOKENS), StreamConfig(["k", "v"], integration=TOKENS)), r"not k, k, v"),
        (
            MotionConfig(StreamConfig(["q", "k"]), StreamConfig(["k", "v"], integration=TOKENS)),
            r"motion.qk: another stream with concat_token",
        ),
        (MotionConfig(adapter={"name": "lora"}), r"motion.adapter: unknown adapter 'lora'. .*Choices: temporal_attention, temporal_lora"),
        (MotionConfig(adapter={"name": "temporal_lora", "rank": 0}), r"rank must be a whole number"),
        (MotionConfig(adapter={"name": "temporal_lora", "lr": 0}), r"lr must be a positive number"),
        (MotionConfig(adapter={"name": "temporal_attention", "lr": "high"}), r"lr must be a positive number"),
        (MotionConfig(sites=SiteConfig(attentions=["attn3"])), r"motion.sites.attentions: \['attn3'\]"),
        (MotionConfig(sites=SiteConfig(blocks=[])), r"motion.sites.blocks: \[\] is not a list of numbers from 0"),
        (MotionConfig(sites=SiteConfig(blocks=[-1])), r"motion.sites.blocks"),
        (MotionConfig(sites=SiteConfig(depth=[0.5, 0.5])), r"motion.sites.depth: .* is not \[from, to\]"),
        (MotionConfig(sites=SiteConfig(depth=[0.5])), r"motion.sites.depth"),
        (MotionConfig(sites=SiteConfig(blocks=[1], depth=[0, 1])), r"give blocks or depth, not both"),
    ],
)
def test_combinations_that_cannot_work(config: MotionConfig, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        config.check()


@pytest.mark.parametrize("given", ["site", "channels"])
def test_what_the_code_supplies_is_no_option(given: str) -> None:
    with pytest.raises(ValueError, match=f"has no option '{given}'. Options: none"):
        MotionConfig(qk=StreamConfig(layout={"name": "per_frame", given: 3})).check()
    with pytest.raises(ValueError, match="has no option 'channels'. Options: none"):
        MotionConfig(qk=StreamConfig(integration={"name": "add", "channels": 3})).check()


@pytest.mark.parametrize(
    ("config", "names"),
    [
        (SiteConfig(), ["down.1", "up.0"]),
        (SiteConfig(["down"], "all"), ["down.0", "down.1"]),
        (SiteConfig(["mid"]), ["mid.0"]),
        (SiteConfig(["in", "down"], [16]), ["transformer_in.0", "down.0"]),
        (SiteConfig(channels="all", blocks=[2, 0]), ["down.0", "up.0"]),
        (SiteConfig(channels="all", depth=[0, 0.3]), ["down.0"]),
        (SiteConfig(channels="all", depth=[0.5, 0.6]), ["down.1"]),
        (SiteConfig(channels="all", depth=[0.4, 1.0]), ["down.1", "up.0"]),
    ],
)
def test_sites_are_selected(config: SiteConfig, names: list[str]) -> None:
    assert [site.name for site in config.select(SITES)] == names


@pytest.mark.parametrize("count", [2, 3, 24, 30, 42])
def test_three_thirds_of_the_depth_are_all_blocks(count: int) -> None:
    sites = [Site(f"blocks.{index}", "blocks", 8, 3, 2, 2, ("attn1",), "joint") for index in range(count)]
    bounds = [0, 1 / 3, 2 / 3, 1]
    parts = [SiteConfig(["blocks"], depth=[*pair]).select(sites) for pair in pairwise(bounds)]
    assert all(parts) and {site.name for part in parts for site in part} == {site.name for site in sites}
    assert count % 3 or sum(len(part) for part in parts) == count, "no block is in two thirds"
    assert [site.name for site in SiteConfig(["blocks"], blocks=[1]).select(sites)] == ["blocks.1"]
    with pytest.raises(ValueError, match=f"there is no block {count}; the stages .* have 0 to {count - 1}"):
        SiteConfig(["blocks"], blocks=[count]).select(sites)
    with pytest.raises(ValueError, match=r"the chosen blocks have attn1 over time, not \['attn2'\]"):
        SiteConfig(["blocks"], attentions=["attn2"]).select(sites)


def test_no_site_lists_those_there_are() -> None:
    with pytest.raises(ValueError, match=r"no temporal attention matches .*\('down', 16\).*\('up', 32\)"):
        SiteConfig(["up"], [1280]).select(SITES)
    with pytest.raises(ValueError, match="motion.sites.stages"):
        MotionConfig(sites=SiteConfig([])).check()
    with pytest.raises(ValueError, match="motion.sites.stages: this backbone has no 'encoder'. Choices: in, down, mid, up"):
        SiteConfig(["down", "encoder"], "all").check_stages(["in", "down", "mid", "up"])
    with pytest.raises(ValueError, match="motion.sites.stages: this backbone has no 'encoder'"):
        SiteConfig(["encoder"], "all").select(SITES)
    with pytest.raises(ValueError, match="motion.sites.channels: 'wide' is not widest, all or a list"):
        MotionConfig(sites=SiteConfig(channels="wide")).check()


@pytest.mark.parametrize(
    "config",
    [
        MotionConfig(adapter={"name": "temporal_lora"}),
        MotionConfig(),
        MotionConfig.paper(),
        MotionConfig(qk=StreamConfig(["q"]), sites=SiteConfig(["mid"], [64])),
        MotionConfig(qk=StreamConfig(["q"]), sites=SiteConfig(["blocks"], depth=[0.5, 0.6])),
    ],
)
def test_configuration_survives_json(config: MotionConfig) -> None:
    assert MotionConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config
