"""Tensors on disk: computed once, addressed by their recipe, whole or not there."""

from __future__ import annotations

import resource
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from torch import Tensor

from motion_ablation.cache.artefacts import Artefacts, content_hash, files_hash


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


def test_a_flipped_bit_is_noticed_and_mended(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    compute = Compute()
    Artefacts(tmp_path).get("latents", {}, compute)
    (path,) = (tmp_path / "latents").iterdir()
    content = bytearray(path.read_bytes())
    content[-2] ^= 1  # still a valid file of the same shape
    path.write_bytes(content)
    assert torch.equal(Artefacts(tmp_path).get("latents", {}, compute)["x"], torch.ones(3, 2))
    assert compute.calls == 2 and "do not match its checksum; it is computed again" in caplog.text.replace(")", "")
    assert path.read_bytes() != bytes(content)


def test_several_at_once_compute_what_is_missing(tmp_path: Path) -> None:
    asked: list[list[int]] = []
    recipes = [{"n": n} for n in (3, 1, 2, 1)]

    def compute(missing: list[int]) -> list[dict[str, Tensor]]:
        asked.append(missing)
        return [{"x": torch.tensor(recipes[index]["n"])} for index in missing]

    artefacts = Artefacts(tmp_path)
    artefacts.get("x", {"n": 2}, lambda: {"x": torch.tensor(2)})
    found = artefacts.get_all("x", recipes, compute)
    assert asked == [[0, 1]], "2 was there, and 1 is asked for once"
    assert [int(tensors["x"]) for tensors in found] == [3, 1, 2, 1]
    artefacts.get_all("x", recipes, compute)
    assert len(asked) == 1


def test_what_is_used_is_recorded(tmp_path: Path) -> None:
    artefacts = Artefacts(tmp_path / "cache")
    artefacts.get("x", {"n": 1}, Compute())
    artefacts.uses = tmp_path / "uses.txt"
    for number in (1, 2):
        artefacts.get("x", {"n": number}, Compute())
    places = artefacts.uses.read_text().splitlines()
    assert len(places) == 2 and all((tmp_path / "cache" / place).is_file() for place in places)


PROCESS = """
import sys, time
from pathlib import Path
import torch
from motion_ablation.cache.artefacts import Artefacts

def compute():
    with open(sys.argv[1] + "/count", "a") as file:
        file.write("x")
    time.sleep(0.5)
    return {"x": torch.ones(3)}

Path(sys.argv[1], "ready" + sys.argv[2]).touch()
while not Path(sys.argv[1], "go").exists():
    time.sleep(0.01)
assert Artefacts(sys.argv[1] + "/cache").get("x", {}, compute)["x"].sum() == 3
"""


def test_processes_on_one_folder_compute_once(tmp_path: Path) -> None:
    processes = [subprocess.Popen([sys.executable, "-c", PROCESS, str(tmp_path), str(number)]) for number in range(3)]
    deadline = time.monotonic() + 120
    while len(list(tmp_path.glob("ready*"))) < 3:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    (tmp_path / "go").touch()
    assert [process.wait(60) for process in processes] == [0, 0, 0]
    assert (tmp_path / "count").read_text() == "x"
    assert [path.suffix for path in (tmp_path / "cache" / "x").iterdir()] == [".safetensors"]


def test_a_full_disk_leaves_nothing_and_says_what_to_do(tmp_path: Path) -> None:
    """A limit on the size of files stands for a disk that fills up while writing."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    artefacts = Artefacts(tmp_path)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, hard))
        with pytest.raises(OSError, match=r"cannot write .*free some space or set model\.cache"):
            artefacts.get_all("x", ["a" * 16, "b" * 16], lambda _: [{"x": torch.ones(3)}, {"x": torch.ones(100_000)}])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not [path for path in tmp_path.rglob("*") if path.is_file()], "neither the first, which fitted, nor half of the second"


def test_files_are_hashed_by_place_and_content(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "one").write_text("1")
    first = files_hash(tmp_path / "a")
    (tmp_path / "a").rename(tmp_path / "b")
    assert files_hash(tmp_path / "b") == first and files_hash(tmp_path / "a") == ""
    (tmp_path / "b" / "one").rename(tmp_path / "b" / "two")
    second = files_hash(tmp_path / "b")
    (tmp_path / "b" / "two").write_text("2")
    assert len({first, second, files_hash(tmp_path / "b"), files_hash(tmp_path / "b" / "two")}) == 4


def test_every_type_of_tensor_is_hashed() -> None:
    values = [torch.ones(2, dtype=dtype) for dtype in (torch.bfloat16, torch.float16, torch.float32, torch.uint8, torch.bool, torch.int64)]
    assert len({content_hash(value) for value in [*values, torch.tensor(1.0), torch.zeros(0)]}) == len(values) + 2
