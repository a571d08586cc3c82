"""An embedding's file: exact round trip, its header, and what is refused."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from motion_ablation.motion import MotionConfig, MotionEmbeddings, StreamConfig, read_embedding
from motion_ablation.motion.integrations import INTEGRATIONS
from motion_ablation.motion.layouts import LAYOUTS
from motion_ablation.records import Site
from motion_ablation.registry import Registry


def example(axis: Registry[Any], name: str) -> dict[str, Any]:
    return {"name": name, **axis[name].example}


def trained(sites: list[Site], layout: str = "per_location", integration: str = "add") -> MotionEmbeddings:
    stream = StreamConfig(["v"], layout=example(LAYOUTS, layout), integration=example(INTEGRATIONS, integration), shared=False)
    keys = StreamConfig(["k"], integration=example(INTEGRATIONS, integration))
    module = MotionEmbeddings(MotionConfig(qk=keys, v=stream), sites)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.randn(parameter.shape))
    return module


@pytest.mark.parametrize("integration", INTEGRATIONS)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_round_trip_is_exact(tmp_path: Path, sites: list[Site], layout: str, integration: str) -> None:
    module = trained(sites, layout, integration)
    module.save(tmp_path / "motion.safetensors", backbone="abc")
    loaded = MotionEmbeddings.load(tmp_path / "motion.safetensors")
    assert loaded.config == module.config
    assert loaded.sites == module.sites
    assert loaded.state_dict().keys() == module.state_dict().keys()
    assert all(torch.equal(loaded.state_dict()[name], value) for name, value in module.state_dict().items())
    assert read_embedding(tmp_path / "motion.safetensors")[1]["backbone"] == "abc"
    assert [path.name for path in tmp_path.iterdir()] == ["motion.safetensors"], "nothing is left beside it"


class Bomb:
    """Unpickling it would be noticed."""

    def __reduce__(self) -> tuple[object, ...]:
        return (exit, (3,))


def test_a_pickle_is_refused_without_being_run(tmp_path: Path) -> None:
    path = tmp_path / "motion_embed.pt"
    path.write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(ValueError, match="motion_embed.pt is not a safetensors file: .+"):
        MotionEmbeddings.load(path)


def test_a_truncated_file_is_refused(tmp_path: Path, sites: list[Site]) -> None:
    path = tmp_path / "motion.safetensors"
    trained(sites).save(path)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ValueError, match=f"{path} is not a safetensors file: .+"):
        MotionEmbeddings.load(path)


def test_another_format_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "lora.safetensors"
    save_file({"weight": torch.zeros(2)}, path)
    with pytest.raises(ValueError, match=rf"{path} is not a motion embedding of this project \(format None"):
        MotionEmbeddings.load(path)


def test_a_missing_file_says_how_to_get_one(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=f"no motion embedding at {tmp_path / 'none'}; train one with `lightning fit`"):
        MotionEmbeddings.load(tmp_path / "none")


def test_a_header_that_does_not_fit_its_tensors_is_refused(tmp_path: Path, sites: list[Site]) -> None:
    path = tmp_path / "motion.safetensors"
    trained(sites).save(path)
    _, metadata = read_embedding(path)
    save_file({"other": torch.zeros(1)}, path, metadata=metadata)
    with pytest.raises(ValueError, match=f"{path} does not hold what its header says"):
        MotionEmbeddings.load(path)


@pytest.mark.parametrize("damage", [{"sites": "[{}]"}, {"motion": "{}"}, {"motion": "not json"}, {"sites": ""}])
def test_a_damaged_header_is_refused(tmp_path: Path, sites: list[Site], damage: dict[str, str]) -> None:
    path = tmp_path / "motion.safetensors"
    trained(sites).save(path)
    tensors, metadata = read_embedding(path)
    save_file(tensors, path, metadata=metadata | damage)
    with pytest.raises(ValueError, match=str(path)):
        MotionEmbeddings.load(path)
