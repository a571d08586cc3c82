"""Tensors on disk: computed once, addressed by their recipe, whole or not there."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from motion_ablation.artefacts import Artefacts, content_hash


class Compute:
    """Counts how often it is asked."""

    def __init__(self, value: float = 1.0) -> None:
        self.calls, self.value = 0, value

    def __call__(self) -> dict[str, Tensor]:
        self.calls += 1
        return {"x": torch.full((2, 3), self.value).T}


def test_computed_once(tmp_path: Path) -> None:
    compute = Compute()
    first = Artefacts(tmp_path).get("latents", {"a": 1, "b": "x"}, compute)
    again = Artefacts(tmp_path).get("latents", {"b": "x", "a": 1}, compute)
    assert compute.calls == 1
    assert torch.equal(first["x"], again["x"])
    assert [path.suffix for path in (tmp_path / "latents").iterdir()] == [".safetensors"]


def test_every_part_of_the_recipe_counts(tmp_path: Path) -> None:
    compute = Compute()
    for kind, recipe in (("latents", {"a": 1}), ("latents", {"a": 2}), ("inverted", {"a": 1}), ("latents", {"a": 1, "b": None})):
        Artefacts(tmp_path).get(kind, recipe, compute)
    assert compute.calls == 4


@pytest.mark.parametrize("damage", [b"", b"not a tensor", None])
def test_a_damaged_file_is_computed_again(tmp_path: Path, damage: bytes | None) -> None:
    compute = Compute()
    Artefacts(tmp_path).get("latents", {}, compute)
    (path,) = (tmp_path / "latents").iterdir()
    path.write_bytes(path.read_bytes()[:-4] if damage is None else damage)
    assert torch.equal(Artefacts(tmp_path).get("latents", {}, compute)["x"], torch.ones(3, 2))
    Artefacts(tmp_path).get("latents", {}, compute)
    assert compute.calls == 2


def test_a_failing_computation_leaves_nothing(tmp_path: Path) -> None:
    def fail() -> dict[str, Tensor]:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Artefacts(tmp_path).get("latents", {}, fail)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_a_folder_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match=f"cannot write {tmp_path}/file.*set model.cache to another folder"):
        Artefacts(tmp_path / "file").get("latents", {}, Compute())


def test_hash_tells_values_shapes_and_types_apart() -> None:
    x = torch.arange(6.0)
    assert content_hash(x) == content_hash(x.clone())
    assert len({content_hash(y) for y in (x, x + 1, x.reshape(2, 3), x.reshape(3, 2), x.double())}) == 5
    assert content_hash(x.reshape(2, 3).T) == content_hash(x.reshape(2, 3).T.contiguous())
    assert content_hash({"a": 1, "b": 2}) == content_hash({"b": 2, "a": 1})
