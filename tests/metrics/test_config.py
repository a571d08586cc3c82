"""The ``evaluation`` section: shared settings reach the metrics that take them, and what cannot judge a video is refused in advance."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

import motion_ablation
from motion_ablation.metrics import METRICS, EvaluationConfig
from motion_ablation.weights import MissingWeights

DEFAULTS = yaml.safe_load((Path(motion_ablation.__file__).parent / "configure" / "defaults.yaml").read_text())["evaluation"]
REAL = "cerspense/zeroscope_v2_576w"


def test_shared_settings_reach_what_takes_them_and_did_not_set_its_own() -> None:
    metrics = ["text_similarity", {"name": "fid", "features": "mine"}, "kid", "motion_fidelity", "prompt_colors", "subject_consistency"]
    options = EvaluationConfig([*metrics, {"name": "dynamic_degree", "tracker": "opencv"}], "theirs", "raft").options()
    assert options == {
        "text_similarity": {"encoder": "theirs"}, "fid": {"features": "mine"}, "kid": {"features": "theirs"},
        "motion_fidelity": {"tracker": "raft"}, "prompt_colors": {}, "subject_consistency": {}, "dynamic_degree": {"tracker": "opencv"},
    }  # fmt: skip


def test_nothing_is_shared_unless_set() -> None:
    assert set(map(str, EvaluationConfig(list(METRICS)).options().values())) == {"{}"}


@pytest.mark.parametrize("name", METRICS)
def test_every_network_option_is_declared(name: str) -> None:
    """What is shared names weights, so the metric must declare it as a source too."""
    taken = {option for option in METRICS[name].shares if option in METRICS.options(name)}
    assert taken <= set(METRICS[name].sources)


def test_the_defaults_are_computed_and_cards_compare_by_the_papers_and_their_company() -> None:
    config = EvaluationConfig(**DEFAULTS)
    assert list(config.options()) == DEFAULTS["metrics"] and (config.encoder, config.tracker) == (None, None)
    expected = ["text_similarity", "motion_fidelity", "temporal_consistency", "dynamic_degree", "fid", "kid", "appearance_leakage"]
    assert config.compared() == expected


def test_a_real_backbone_needs_a_real_encoder(tiny_clip: Path) -> None:
    config = EvaluationConfig(**DEFAULTS)
    config.check("shapes")
    with pytest.raises(
        ValueError, match=f"evaluation.encoder is not set: .*'{REAL}'.*hf download openai/.*--evaluation.encoder openai/"
    ) as told:
        config.check(REAL)
    assert "\n" not in str(told.value) and "--evaluation.encoder shapes" in str(told.value)
    EvaluationConfig(DEFAULTS["metrics"], encoder=str(tiny_clip)).check(REAL)
    EvaluationConfig(DEFAULTS["metrics"], encoder="shapes").check(REAL)  # whoever insists
    EvaluationConfig(["motion_fidelity", {"name": "fid", "features": str(tiny_clip)}]).check(REAL)  # nothing asks for it


def test_an_encoder_that_is_not_here_is_told_in_advance() -> None:
    with pytest.raises(MissingWeights, match="hf download nobody/clip"):
        EvaluationConfig(["text_similarity"], encoder="nobody/clip").check("shapes")


@pytest.mark.parametrize("metric", [
    {"name": "motion_fidelity", "tracker": "raft:/nowhere/raft.pth"}, {"name": "fid", "features": "inception:/nowhere"},
    {"name": "subject_consistency", "features": "nobody/dino"},
])  # fmt: skip
def test_weights_that_are_not_here_are_told_before_training(metric: dict[str, Any]) -> None:
    with pytest.raises(MissingWeights):
        EvaluationConfig([metric]).check("shapes")


def test_backbones_bring_their_encoder() -> None:
    for path in (Path(motion_ablation.__file__).parents[1] / "experiments" / "backbones").glob("*.yaml"):
        assert yaml.safe_load(path.read_text())["evaluation"] == {"encoder": "openai/clip-vit-base-patch32"}
