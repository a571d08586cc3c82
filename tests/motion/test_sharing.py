"""Sharing an embedding: a folder that loads as it was saved, a card that says what it is, and the hub's own calls."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
import torch
import yaml
from huggingface_hub import HfApi, ModelCard

from motion_ablation.motion import MotionConfig, MotionEmbeddings
from motion_ablation.motion.sharing import public
from motion_ablation.records import Site

RECORD: dict[str, Any] = {
    "config": {
        "model": {
            "backbone": {"name": "unet3d", "source": "cerspense/zeroscope_v2_576w", "options": {"dtype": "float16"}},
            "sampling": {"steps": 30, "guidance": 12.0},
            "cache": "/home/somebody/cache",
        },
        "data": {"references": ["/home/somebody/clips/apple.mp4"], "frames": 24},
    },
    "captions": {"apple": "a red apple on a stone counter"},
    "steps": 400,
    "versions": {"torch": "2.14.1", "diffusers": "0.42.1"},
    "metrics": {"random/text_similarity": 0.2931, "random/fid": None, "blend/motion_fidelity": 0.91234},
    "protocols": {"text_similarity": {"network": "openai/clip-vit-base-patch32", "scale": "raw |cosine|"}, "motion_fidelity": {}},
    "cells": [
        {
            "reference": "apple",
            "prompt": "a car",
            "seed": seed,
            "noise": noise,
            "text_similarity": 0.3,
            "motion_fidelity": [0.9, None][seed],
        }
        for seed in (0, 1)
        for noise in ("random", "blend")
    ],
}


@pytest.fixture
def motion(sites: list[Site]) -> MotionEmbeddings:
    made = MotionEmbeddings(MotionConfig.paper(), sites)
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter)
    made.header, made.record = {"backbone": "abc"}, RECORD
    return made


def test_a_folder_loads_as_it_was_saved(motion: MotionEmbeddings, tmp_path: Path) -> None:
    motion.save_pretrained(tmp_path / "shared")
    assert {path.name for path in (tmp_path / "shared").iterdir()} == {"README.md", "motion.safetensors", "result.json"}
    for source in (tmp_path / "shared", str(tmp_path / "shared" / "motion.safetensors")):
        loaded = MotionEmbeddings.from_pretrained(source)
        assert loaded.config == motion.config and loaded.sites == motion.sites and loaded.header == {"backbone": "abc"}
        assert all(torch.equal(tensor, motion.state_dict()[name]) for name, tensor in loaded.state_dict().items())
        assert loaded.record["captions"] == RECORD["captions"]
    assert "somebody" not in "".join(path.read_text(errors="ignore") for path in (tmp_path / "shared").iterdir())


def test_the_card_says_what_it_is(motion: MotionEmbeddings, tmp_path: Path) -> None:
    motion.save_pretrained(tmp_path / "shared", "me/apple")
    card = ModelCard.load(tmp_path / "shared" / "README.md")
    assert (card.data.base_model, card.data.library_name, card.data.license) == ("cerspense/zeroscope_v2_576w", "motion-ablation", None)
    for words in (
        "“a red apple on a stone counter” (apple)",
        "`cerspense/zeroscope_v2_576w`",
        "Training steps: 400",
        'with motion_ablation.attach(pipe, "me/apple"):',
        'pipe("what to show", num_frames=24, num_inference_steps=30, guidance_scale=12.0)',
        "| text similarity | random | 0.293 | 2 | network: openai/clip-vit-base-patch32; scale: raw \\|cosine\\| |",
        "| motion fidelity | blend | 0.912 | 1 |",
        "## Licence",
        "references:\n  - apple.mp4",
    ):
        assert words in card.text, words
    assert "| fid |" not in card.text, "what has no score has no row"
    settings = yaml.safe_load(card.text.split("```yaml\n")[1].split("```")[0])
    assert settings["model"]["backbone"] == RECORD["config"]["model"]["backbone"]
    code = card.text.split("```python\n")[1].split("```")[0]
    compile(code, "card", "exec")


@pytest.mark.parametrize(
    "network",
    [
        {},
        {"name": "unet3d", "source": "shapes", "options": {}},
        {"name": "animatediff", "source": "a/b", "options": {"adapter": "c/d"}},
        {"name": "unet3d", "source": "weights/zeroscope", "options": {}},
    ],
)
def test_every_card_shows_code_that_compiles(motion: MotionEmbeddings, tmp_path: Path, network: dict[str, Any]) -> None:
    motion.record = {"config": {"model": {"backbone": network}}} if network else {}
    motion.save_pretrained(tmp_path)
    text = (tmp_path / "README.md").read_text()
    compile(text.split("```python\n")[1].split("```")[0], "card", "exec")
    assert "\n\n\n" not in text and "None" not in text.replace("None is granted", "")


def test_pushing_uploads_the_folder(motion: MotionEmbeddings, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    def create(self: HfApi, repo_id: str, *, private: bool | None, exist_ok: bool) -> Any:
        asked.append((repo_id, private, exist_ok))
        return huggingface_hub.RepoUrl(f"https://huggingface.co/me/{repo_id}")

    def upload(self: HfApi, *, repo_id: str, folder_path: str, commit_message: str) -> str:
        asked.append((repo_id, sorted(path.name for path in Path(folder_path).iterdir()), Path(folder_path, "README.md").read_text()))
        return f"https://huggingface.co/{repo_id}/commit/1"

    monkeypatch.setattr(HfApi, "create_repo", create)
    monkeypatch.setattr(HfApi, "upload_folder", upload)
    assert motion.push_to_hub("apple", private=True) == "https://huggingface.co/me/apple/commit/1"
    assert asked[0] == ("apple", True, True)
    assert asked[1][:2] == ("me/apple", ["README.md", "motion.safetensors", "result.json"])
    assert 'attach(pipe, "me/apple")' in asked[1][2], "the card names the whole repository"


def test_a_repository_in_the_hubs_cache_is_loaded(motion: MotionEmbeddings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The hub's cache as a download leaves it; nothing is asked of the network."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    place = tmp_path / "models--me--apple"
    motion.save_pretrained(place / "snapshots" / ("0" * 40))
    (place / "refs").mkdir()
    (place / "refs" / "main").write_text("0" * 40)
    loaded = MotionEmbeddings.from_pretrained("me/apple")
    assert loaded.record["steps"] == 400


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("me/nothing", "no motion embedding at me/nothing: no such folder, and the hub does not give it"),
        ("./no/such/folder", "no motion embedding at ./no/such/folder: it is neither a folder, nor a file, nor a hub id"),
    ],
)
def test_what_is_not_there_is_told_in_one_line(source: str, told: str) -> None:
    with pytest.raises(ValueError, match=told) as refused:
        MotionEmbeddings.from_pretrained(source)
    assert "\n" not in str(refused.value)


def test_a_folder_without_an_embedding_is_told_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=f"no motion embedding at {tmp_path}/motion.safetensors"):
        MotionEmbeddings.from_pretrained(tmp_path)


def test_no_path_of_this_machine_is_shared() -> None:
    assert public({"a": ["/x/y.mp4", "b/c", {"cache": "s3://secret"}], "n": 1}) == {"a": ["y.mp4", "b/c", {}], "n": 1}
    assert json.loads(json.dumps(public(RECORD)))["config"]["data"]["references"] == ["apple.mp4"]
