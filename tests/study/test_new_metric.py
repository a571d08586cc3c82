"""A metric of one's own: one class and one line of YAML, and it is computed, kept, compared and in the table."""

from __future__ import annotations

import re
from collections.abc import Sequence
from math import isnan
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from torch import Tensor

from motion_ablation.metrics import METRICS, PerSampleMetric
from motion_ablation.study.plan.cards import read_card
from motion_ablation.study.plan.planning import Options, make_study
from motion_ablation.study.plan.study import Study
from motion_ablation.study.report.build import build_report
from motion_ablation.study.report.write import markdown
from motion_ablation.study.run.quiet import quiet
from motion_ablation.study.run.runner import run_study


class Brightness(PerSampleMetric):
    """Mean brightness of a video plus its seed; reads a field that no other metric does."""

    name, reads, range, unit = "brightness", ("frames", "seed", "fps"), (0.0, float("inf")), "share"

    def __init__(self, gain: float = 1.0) -> None:
        super().__init__()
        self.gain = gain

    @property
    def protocol(self) -> dict[str, object]:
        return {"formula": "mean of all pixels", "gain": self.gain}

    def score(self, frames: Tensor, seed: Sequence[int], fps: Sequence[float]) -> Tensor:
        assert list(fps) == [8.0] * len(frames)
        return self.gain * frames.mean((1, 2, 3, 4)) + torch.tensor(seed)


@pytest.fixture
def brightness(monkeypatch: pytest.MonkeyPatch) -> None:
    METRICS.names()  # the others are there
    monkeypatch.setitem(METRICS._entries, "brightness", Brightness)


def test_a_metric_is_one_class_and_one_line(brightness: None, tmp_path: Path, lab: Path, quick_config: Path, card_maker: Any) -> None:
    own = tmp_path / "own.yaml"
    own.write_text("evaluation: {metrics: [{name: brightness, gain: 2.0}, prompt_colors]}\n")
    card = card_maker(lab, "bright", ["mqk_spatial"])
    content = yaml.safe_load(card.read_text())
    content.pop("metrics", None)
    card.write_text("# A hypothesis.\n" + yaml.safe_dump(content))
    with quiet():
        study = make_study([read_card(card)], tmp_path / "study", Options(configs=[str(quick_config), str(own)]))
    card.unlink()
    assert study.metrics == ["brightness"], "all that the baseline's evaluation compares by"
    assert run_study(study, 1)
    assert Study.load(study.folder).metrics == ["brightness"]
    run = study.run_of("baseline", "orbit")
    result = run.result()
    assert result is not None and result["protocols"]["brightness"]["gain"] == 2.0
    assert all(cell["seed"] < cell["brightness"] < cell["seed"] + 2 for cell in result["cells"])
    assert '"prompt_colors": null' in (run.folder / "result.json").read_text(), "NaN is no JSON"
    assert {cell["prompt"]: isnan(cell["prompt_colors"]) for cell in result["cells"]} == {
        "a red triangle on a blue background": False, "a blue cross": True,
    }  # fmt: skip
    text = markdown(build_report(study))
    assert re.search(r"\| +brightness ↑ +\|", text) and "Against the truth" in text and "prompt colors ↑" in text
    assert "Control rows of" not in text
