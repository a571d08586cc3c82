"""Memory on the meta device: what is counted is exact, ZeroScope keeps its promise, and the page says what the script finds."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
import yaml
from torch import nn

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks import memory  # noqa: E402

BACKBONES = ROOT / "experiments" / "backbones"
TARGET = 14.0


def test_bytes_are_counted_once_and_let_go() -> None:
    with memory.Live([]) as live:
        first = torch.empty(1000, device="meta")
        view = first.view(10, 100)[2:]
        second = torch.empty(5000, device="meta")
        del second
        assert live.now == 4000
        del first
        assert live.now == 4000, "the view holds it"
        del view
        assert live.now == 0
        torch.empty(2000, device="meta")
    assert live.peak == 4 * 6000


def test_operations_and_what_a_backward_pass_needs() -> None:
    layer = nn.Linear(64, 32, bias=False, device="meta").requires_grad_(False)
    features = torch.empty(10, 64, device="meta", requires_grad=True)
    with memory.Live([features, *layer.parameters()]) as live:
        result = layer(features).sigmoid()
        assert live.now == 4 * 10 * 32, "the sigmoid keeps its output, a frozen layer nothing"
        result.sum().backward()
    assert live.operations == 2 * 2 * 10 * 64 * 32


def test_attention_counts_as_the_flash_kernel_has_it() -> None:
    query, key, value = (torch.empty(2, 4, tokens, 8, device="meta", requires_grad=True) for tokens in (6, 10, 10))
    with memory.Live([query, key, value]) as live:
        live.attention(query, key, value).sum().backward()
    product = 2 * 2 * 4 * 6 * 10 * 8
    assert live.operations == (2 + 5) * product
    assert all(tensor.grad is not None for tensor in (query, key, value))


def test_zeroscope_fits_a_card_of_16_gb() -> None:
    settings = memory.settings_of(BACKBONES / "zeroscope.yaml")
    assert settings["model"]["backbone"]["options"]["gradient_checkpointing"]
    assert (settings["data"]["frames"], settings["data"]["size"]) == (24, [320, 576])
    found = memory.measure(settings, checkpointing=True)
    assert found.total / memory.GB < TARGET - memory.SLACK
    assert found.parameters == 5 * (24 * 1280 + 2 * 24 * 1280 * 10 * 18)
    assert found.kept < found.peak


def test_an_unknown_backbone_is_refused_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "other.yaml"
    path.write_text(yaml.safe_dump({"model": {"backbone": {"source": "some/model"}}}))
    with pytest.raises(ValueError, match=r"'some/model' is not known; add it to MODELS in benchmarks/memory\.py"):
        memory.settings_of(path)


@pytest.mark.slow
@pytest.mark.parametrize("path", sorted(BACKBONES.glob("*.yaml")), ids=lambda path: path.stem)
def test_the_page_has_these_numbers(path: Path) -> None:
    page = (ROOT / "docs" / "backbones.md").read_text(encoding="utf-8").splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in page if line.startswith("| ")]
    assert [row for row in memory.rows(path) if row not in cells] == []
