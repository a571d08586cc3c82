"""Stores of artefacts: folders and fsspec URLs alike keep values whole, or not at all."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import fsspec
import pytest
import torch
import yaml
from torch import Tensor

from motion_ablation.cache.artefacts import Artefacts
from motion_ablation.cache.stores import Folder, Remote, open_store
from motion_ablation.cli.lightning import main

PLACES = ("folder", "file://", "dir::file://", "memory://")


@pytest.fixture(params=PLACES)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A place for a store of each kind."""
    if request.param == "memory://":
        name = f"memory://{uuid4().hex}/cache"
        yield name
        fsspec.filesystem("memory").rm(name.removeprefix("memory:/").removesuffix("/cache"), recursive=True)
    else:
        yield ("" if request.param == "folder" else request.param) + str(tmp_path / "cache")


def _keys(place: str) -> list[str]:
    """Everything in a store, whatever its key."""
    url = place.removeprefix("dir::")
    files, root = fsspec.url_to_fs(url)
    return sorted(path.removeprefix(root).lstrip("/") for path in files.find(root))


def test_a_value_is_there_once_it_is_written(place: str) -> None:
    store = open_store(place)
    assert store.read("latents/a") is None
    store.write({"latents/a": b"1", "videos/b": b"22"})
    store.write({"latents/a": b"333"})
    assert open_store(place).read("latents/a") == b"333" and store.read("videos/b") == b"22"
    with store.alone("latents/a"):
        assert store.read("latents/a") == b"333"
    assert _keys(place) == ["latents/a", "videos/b"], "nothing temporary is left"
    assert store.name("latents/a").endswith("cache/latents/a")


def test_urls_and_folders_are_told_apart(tmp_path: Path) -> None:
    assert isinstance(open_store("cache"), Folder) and isinstance(open_store(tmp_path), Folder)
    file = open_store(f"file://{tmp_path}")
    assert isinstance(file, Folder) and file.folder == tmp_path
    assert isinstance(open_store("memory://x"), Remote) and isinstance(open_store(f"dir::file://{tmp_path}"), Remote)


@pytest.mark.parametrize(("url", "told"), [("nope://bucket/x", "Protocol not known: nope"), ("s3://bucket/x", "s3fs")])
def test_a_store_that_cannot_be_opened_is_told(url: str, told: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "s3fs", None)
    with pytest.raises(ValueError, match=f"model.cache: {url}: .*{told}"):
        open_store(url)


def test_one_at_a_time_is_alone_with_a_key(tmp_path: Path) -> None:
    store, inside, most = open_store(tmp_path), [0], [0]

    def enter() -> None:
        for _ in range(50):
            with store.alone("latents/a"):
                inside[0] += 1
                most[0] = max(most[0], inside[0])
                time.sleep(0.0001)
                inside[0] -= 1

    threads = [threading.Thread(target=enter) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most[0] == 1
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


class Compute:
    """Counts how often it is asked."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self) -> dict[str, Tensor]:
        self.calls += 1
        return {"x": torch.arange(6.0).reshape(2, 3), "half": torch.ones(2, dtype=torch.bfloat16), "none": torch.zeros(0, 3)}


def test_artefacts_are_computed_once_wherever_they_are(place: str) -> None:
    compute = Compute()
    first = Artefacts(place).get("latents", {"a": 1}, compute)
    again = Artefacts(place).get("latents", {"a": 1}, compute)
    assert compute.calls == 1 and set(first) == set(again)
    assert all(torch.equal(first[name], again[name]) and first[name].dtype == again[name].dtype for name in first)


@pytest.mark.parametrize("damage", [b"", b"not a tensor", None, "flip"])
def test_a_torn_value_is_computed_again(place: str, damage: bytes | str | None) -> None:
    compute = Compute()
    Artefacts(place).get("latents", {}, compute)
    (key,) = _keys(place)
    store = open_store(place)
    value = store.read(key) or b""
    torn = value[:-4] if damage is None else value[:-1] + bytes([value[-1] ^ 1]) if damage == "flip" else damage
    assert isinstance(torn, bytes)
    store.write({key: torn})
    again = Artefacts(place).get("latents", {}, compute)
    assert torch.equal(again["x"], torch.arange(6.0).reshape(2, 3)) and compute.calls == 2
    Artefacts(place).get("latents", {}, compute)
    assert compute.calls == 2


def test_without_locks_two_may_compute_the_same_and_both_are_right(tmp_path: Path) -> None:
    place, inner, outer = f"dir::file://{tmp_path}", Compute(), Compute()

    def slowly() -> dict[str, Tensor]:
        Artefacts(place).get("latents", {}, inner)  # another process is quicker
        return outer()

    assert torch.equal(Artefacts(place).get("latents", {}, slowly)["x"], torch.arange(6.0).reshape(2, 3))
    assert (inner.calls, outer.calls) == (1, 1) and len(_keys(place)) == 1
    Artefacts(place).get("latents", {}, outer)
    assert outer.calls == 1


def test_a_write_that_breaks_off_leaves_no_value(monkeypatch: pytest.MonkeyPatch) -> None:
    from fsspec.implementations.memory import MemoryFileSystem

    def break_off(self: Any, path: str, value: bytes, **kwargs: Any) -> None:
        with self.open(path, "wb") as file:
            file.write(value[: len(value) // 2])
        raise ConnectionResetError("the line is dead")

    place = f"memory://{uuid4().hex}"
    monkeypatch.setattr(MemoryFileSystem, "pipe_file", break_off)
    with pytest.raises(OSError, match=r"cannot write memory://.*/latents/.*the line is dead"):
        Artefacts(place).get("latents", {}, Compute())
    assert _keys(place) == []


def test_a_run_keeps_its_artefacts_at_a_url(tmp_path: Path, tiny_settings: dict[str, Any]) -> None:
    place = f"memory://{uuid4().hex}/cache"
    tiny_settings["model"]["cache"] = place
    (tmp_path / "own.yaml").write_text(yaml.safe_dump(tiny_settings))
    main(["fit", "--config", str(tmp_path / "own.yaml")])
    kept = {key: fsspec.filesystem("memory").modified(f"{place.removeprefix('memory:/')}/{key}") for key in _keys(place)}
    assert {key.split("/")[0] for key in kept} == {"latents", "inverted"}
    main(["fit", "--config", str(tmp_path / "own.yaml")])
    again = {key: fsspec.filesystem("memory").modified(f"{place.removeprefix('memory:/')}/{key}") for key in _keys(place)}
    assert again == kept, "the second run wrote none of them again"
