"""Texts in scripts that a font lacks: another installed font, or codes and one warning; never rows of boxes."""

from __future__ import annotations

import logging
from types import SimpleNamespace

import pytest
import torch
from matplotlib import font_manager

from motion_ablation import fonts
from motion_ablation.callbacks import labelled
from motion_ablation.study.report.style import styled

CHINESE = ("红色圆形", "蓝色背景")


@pytest.fixture
def no_other_font(monkeypatch: pytest.MonkeyPatch) -> None:
    own = [font for font in font_manager.fontManager.ttflist if font.name.startswith(("DejaVu", "STIX", "Last Resort"))]
    monkeypatch.setattr(fonts, "fontManager", SimpleNamespace(ttflist=own))
    fonts.font_for.cache_clear()


def test_matplotlib_s_own_font_comes_first() -> None:
    for text in ("a red circle", "rosé → ±", "красный круг", ""):
        assert fonts.font_for(text)[0] == fonts.OWN and fonts.drawable(text) == text


def test_what_no_font_has_is_shown_as_codes_after_one_warning(no_other_font: None, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        assert [fonts.drawable(text) for text in (*CHINESE, "a 红 b")][2] == r"a \u7ea2 b"
        assert [fonts.drawable(text) for text in CHINESE] == [r"\u7ea2\u8272\u5706\u5f62", r"\u84dd\u8272\u80cc\u666f"]
    assert sum("红 色 圆 形" in record.message for record in caplog.records) == 1
    strips = [labelled(torch.ones(1, 3, 64, 64), text, 128)[0, :, :14] for text in CHINESE]
    assert not torch.equal(*strips) and all((strip < 0.5).any() for strip in strips)


def test_an_installed_font_that_has_the_characters_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """A font of symbols stands in for one of another script."""
    only = next(char for char in map(chr, range(0x1D400, 0x1D7FF)) if fonts._lacking(char, font_manager.findfont(fonts.OWN)))
    name, file = fonts.font_for(only)
    assert name != fonts.OWN and not fonts._lacking(only, file)
    with styled(only):
        import matplotlib

        assert matplotlib.rcParams["font.family"] == [fonts.OWN, name]
