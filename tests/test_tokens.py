"""Texts that are longer than a text encoder takes: said, quoted and recorded."""

from __future__ import annotations

import logging

import pytest
import torch

from motion_ablation.backbones.load import BackboneConfig, load_backbone
from motion_ablation.metrics import METRICS
from motion_ablation.metrics.networks.encoders import load_encoder

LONG = "a red circle on a cyan background and " * 3 + "a green star at the end"


def test_a_backbone_says_what_it_leaves_out(caplog: pytest.LogCaptureFixture) -> None:
    backbone = load_backbone(BackboneConfig())
    with caplog.at_level(logging.WARNING):
        found = backbone.left_out([LONG, "a red circle", LONG])
    assert list(found) == [LONG] and found[LONG].endswith("a green star at the end")
    kept = LONG.removesuffix(found[LONG])
    assert torch.equal(backbone.embed([LONG]), backbone.embed([kept])) and not backbone.left_out([kept])
    (warning,) = [record.getMessage() for record in caplog.records]
    assert "takes 18 tokens" in warning and "a green star at the end" in warning


def test_text_similarity_states_what_its_encoder_left_out() -> None:
    metric = METRICS.build("text_similarity")
    assert "cut_texts" not in metric.protocol
    metric.score(torch.rand(2, 2, 3, 64, 64), ["a red circle", LONG])
    assert metric.protocol["cut_texts"] == {LONG: load_encoder("shapes").left_out[LONG]}
    assert "cut_texts" not in METRICS.build("text_similarity").protocol, "what another study scored is none of this one's"
