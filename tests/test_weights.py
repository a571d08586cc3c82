"""One finder of weights: where it looks, what it says where nothing is, and that it never downloads."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from motion_ablation import weights
from motion_ablation.metrics.networks.encoders import clip_folder
from motion_ablation.metrics.networks.vision import vision_folder
from motion_ablation.weights import TENSORS, MissingWeights, find_file, find_folder, fingerprint

ASKED = {"kind": "CLIP folder", "setting": "the metric's encoder", "example": "some/example"}
HOLDS = ("config.json", TENSORS)


def model(folder: Path) -> Path:
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(b"weights")
    return folder


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine of its own, on which every attempt to reach another is an error."""
    import socket

    def refuse(*_: Any, **__: Any) -> Any:
        raise AssertionError("a finder of weights opened a connection")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(weights, "HOME", tmp_path / "home")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


def in_hub_cache(hub: Path, name: str) -> Path:
    """The folder of a hub id as ``hf download`` leaves it."""
    place = hub / f"models--{name.replace('/', '--')}"
    (place / "refs").mkdir(parents=True)
    (place / "refs" / "main").write_text("0" * 40)
    return model(place / "snapshots" / ("0" * 40))


def test_a_folder_is_found_by_path(home: Path) -> None:
    folder = model(home / "mine")
    assert find_folder(folder, HOLDS, **ASKED) == folder == find_folder("~/mine", HOLDS, **ASKED)


def test_a_hub_id_is_found_where_hf_download_and_a_user_put_it(home: Path) -> None:
    kept = model(home / "home" / "some--model")
    assert find_folder("some/model", HOLDS, **ASKED) == kept
    cached = in_hub_cache(home / "hub", "some/model")
    assert find_folder("some/model", HOLDS, **ASKED) == cached
    (cached / "model.safetensors").unlink()
    assert find_folder("some/model", HOLDS, **ASKED) == kept, "a download that broke off does not hide a whole one"


def test_the_built_in_weights_are_not_a_folder_called_so(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model(home / "shapes")
    monkeypatch.chdir(home)
    assert clip_folder("shapes") == weights.BUILTIN / "shapes" / "clip"


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("some/model", "hf download some/model --local-dir weights/model. and set the metric's encoder to that folder"),
        ("~/none", "no folder '.*/none'; give a CLIP folder with config.json, .*hf download some/example --local-dir .*/none"),
        ("half", r"half is not a CLIP folder: it lacks \*.safetensors or \*.bin"),
    ],
)
def test_what_is_missing_is_told_in_one_line(home: Path, monkeypatch: pytest.MonkeyPatch, source: str, told: str) -> None:
    monkeypatch.chdir(home)
    (model(home / "half") / "model.safetensors").unlink()
    with pytest.raises(MissingWeights, match=told) as caught:
        find_folder(source, HOLDS, **ASKED)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("find", [clip_folder, vision_folder])
def test_no_finder_downloads(find: Any) -> None:
    with pytest.raises(MissingWeights, match="hf download nobody/nothing --local-dir weights/nothing"):
        find("nobody/nothing")


def test_a_file_is_found_by_itself_its_folder_or_at_home(home: Path) -> None:
    (home / "home").mkdir()
    for file in (home / "home" / "small.pt", home / "v1.5" / "large.pt"):
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(b"weights")

    def find(given: Any = None) -> Path:
        return find_file(["large.pt", "small.pt"], "RAFT's weights", "curl -o {file} URL", given=given)

    assert find() == home / "home" / "small.pt"
    assert find(home / "v1.5") == find("~/v1.5/large.pt") == home / "v1.5" / "large.pt"
    with pytest.raises(MissingWeights, match=re.escape(f"RAFT's weights are not at {home}/no.pt: curl -o {home}/no.pt URL")):
        find(home / "no.pt")


def test_a_fingerprint_is_of_names_and_content(home: Path) -> None:
    one, two = model(home / "one"), model(home / "two")
    assert fingerprint(one) == fingerprint(two)
    large = bytes(2_500_000)
    (one / "model.safetensors").write_bytes(large)
    before = fingerprint(one)
    (one / "model.safetensors").write_bytes(large[:-1] + b"1")
    assert len({before, fingerprint(one), fingerprint(two), fingerprint(one / "model.safetensors")}) == 4
    (two / "config.json").rename(two / "other.json")
    assert fingerprint(one, parts=("none",)) == fingerprint(two, parts=("none",)) and fingerprint(two) != fingerprint(model(home / "three"))
