"""Addresses: what changes them, and what does not."""

from __future__ import annotations

import copy
import shutil
from pathlib import Path
from typing import Any

import pytest

from motion_ablation import weights
from motion_ablation.cache.addresses import metric_version, recipe_of, training_recipe
from motion_ablation.configure.parse import resolve
from motion_ablation.metrics import METRICS
from motion_ablation.weights import BUILTIN

CLIP = BUILTIN / "shapes" / "clip"


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory, and a machine without other weights than the package's."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setattr(weights, "HOME", tmp_path / "home")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path


def folder_called(name: str) -> None:
    """What could be taken for the value of an option."""
    Path(name).mkdir(parents=True)
    Path(name, "file").write_text("1")


@pytest.mark.parametrize(
    ("metric", "names"),
    [
        ({"name": "motion_fidelity", "protocol": "dmt"}, ["dmt", "opencv"]),
        ({"name": "text_similarity", "scale": "torchmetrics"}, ["torchmetrics", "shapes", "cosine"]),
        ({"name": "temporal_consistency", "pairs": "all"}, ["all", "shapes"]),
        ({"name": "fid"}, ["reference", "shapes"]),
    ],
)
def test_a_folder_that_is_called_like_an_option_s_value_changes_nothing(metric: dict[str, Any], names: list[str]) -> None:
    before = metric_version(metric)
    for name in names:
        folder_called(name)
    assert metric_version(metric) == before


def test_weights_count_by_content_wherever_they_are(here: Path) -> None:
    def version(encoder: str) -> list[Any]:
        return metric_version({"name": "text_similarity", "encoder": encoder})

    missing = version("some/clip")
    assert missing != version("other/clip"), "by name where there are none"
    shutil.copytree(CLIP, here / "home" / "some--clip")
    shutil.copytree(CLIP, "mine")
    assert version("some/clip") == version("mine") == version(str(Path("mine").resolve())) == version("shapes") != missing
    assert version("shapes") == metric_version({"name": "text_similarity"})
    (Path("mine") / "preprocessor_config.json").write_text("{}")
    assert version("mine") != version("shapes")


@pytest.mark.parametrize(
    ("metric", "option", "kind"),
    [("motion_fidelity", "tracker", "raft"), ("dynamic_degree", "tracker", "cotracker3"), ("fid", "features", "inception")],
)
def test_a_file_of_weights_counts_by_content(metric: str, option: str, kind: str) -> None:
    name = {"inception": "inception-2015-12-05.pt"}.get(kind, "weights.pth")
    source = {"name": metric, option: f"{kind}:{Path(name).resolve()}"}
    missing = metric_version(source)
    Path(name).write_bytes(b"one")
    one = metric_version(source)
    Path(name).write_bytes(b"two")
    assert len({str(version) for version in (missing, one, metric_version(source), metric_version({"name": metric}))}) == 4


def test_the_set_that_fid_compares_with_counts_by_content() -> None:
    folder_called("davis")
    before = metric_version({"name": "fid", "against": "davis"})
    Path("davis", "file").write_text("2")
    assert metric_version({"name": "fid", "against": "davis"}) != before


def test_every_metric_declares_what_it_reads_from_disk() -> None:
    import inspect

    for name in METRICS:
        parameters = inspect.signature(METRICS[name]).parameters
        assert set(METRICS[name].sources) == {"encoder", "features", "tracker", "against", "flow"} & set(parameters), name


def test_the_place_of_a_backbone_s_weights_does_not_count(tiny_config: Path) -> None:
    config = resolve(["--config", str(tiny_config)])
    moved = copy.deepcopy(config)
    moved["model"]["backbone"]["source"] = "/elsewhere"
    for recipe in (recipe_of, training_recipe):
        assert recipe(config, "weights") == recipe(moved, "weights") != recipe(config, "others")


@pytest.mark.parametrize(("dtype", "same"), [("float32", True), ("bfloat16", True), ("float16", False)])
def test_gradient_checkpointing_does_not_count_where_its_results_are_the_same(tiny_config: Path, dtype: str, same: bool) -> None:
    config = resolve(["--config", str(tiny_config)])
    thrifty, sliced = copy.deepcopy(config), copy.deepcopy(config)
    config["model"]["backbone"]["options"] = {"dtype": dtype}
    thrifty["model"]["backbone"]["options"] = {"dtype": dtype, "gradient_checkpointing": True}
    sliced["model"]["backbone"]["options"] = {"dtype": dtype, "vae_slicing": True}
    for recipe in (recipe_of, training_recipe):
        assert (recipe(config, "weights") == recipe(thrifty, "weights")) is same
        assert recipe(config, "weights") != recipe(sliced, "weights")
