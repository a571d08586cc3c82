"""Generated videos as artefacts: kept, taken, and the same however they were batched."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from motion_ablation.backbones import BackboneConfig
from motion_ablation.backbones.unet3d import UNet3DBackbone
from motion_ablation.generating import SamplingConfig
from motion_ablation.module import MotionInversion
from motion_ablation.motion import MotionConfig
from motion_ablation.records import Cell, Clip


@pytest.fixture
def clip() -> Clip:
    return Clip(torch.rand(4, 3, 16, 16, generator=torch.Generator().manual_seed(0)), 8.0, "a red star", "noise")


@pytest.fixture
def generated(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The sizes of the batches that were generated."""
    sizes: list[int] = []
    generate = UNet3DBackbone.generate

    def counted(self: Any, noise: Any, *args: Any) -> Any:
        sizes.append(len(noise))
        return generate(self, noise, *args)

    monkeypatch.setattr(UNet3DBackbone, "generate", counted)
    return sizes


def make(source: Path, cache: Path, steps: int = 2, keeps: bool = True, moved: float = 0.0, **sampling: Any) -> MotionInversion:
    module = MotionInversion(
        BackboneConfig(source=str(source)), MotionConfig.paper(), sampling=SamplingConfig(steps, 3.0, "", 2, **sampling), cache=str(cache)
    )
    module.make_motion(4, 16, 16)
    with torch.no_grad():
        for index, parameter in enumerate(module.embeddings.parameters()):
            parameter.copy_(moved * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(index)))
    module.keeps_videos = keeps
    return module


def cells(clip: Clip, *seeds: int, noise: str = "random", prompt: str = "a blue circle") -> list[Cell]:
    return [Cell(clip.name, prompt, seed, noise) for seed in seeds]


def test_frames_are_whole_steps_of_a_byte(tiny_backbone: Path, tmp_path: Path, clip: Clip) -> None:
    frames = make(tiny_backbone, tmp_path, keeps=False).generate(clip, cells(clip, 0))[0].frames
    assert torch.equal((frames * 255).round() / 255, frames) and 0 <= frames.min() < frames.max() <= 1
    assert not (tmp_path / "videos").exists(), "kept only where asked for"


def test_only_missing_cells_are_generated_and_all_are_in_place(
    tiny_backbone: Path, tmp_path: Path, clip: Clip, generated: list[int]
) -> None:
    module = make(tiny_backbone, tmp_path, moved=1.0)
    first = module.generate(clip, cells(clip, 0, 1))
    again = module.generate(clip, cells(clip, 2, 1, 3, 0))
    assert generated == [2, 2]
    assert [sample.seed for sample in again] == [2, 1, 3, 0]
    assert torch.equal(again[3].frames, first[0].frames) and torch.equal(again[1].frames, first[1].frames)
    fresh = make(tiny_backbone, tmp_path, keeps=False, moved=1.0).generate(clip, cells(clip, 0, 1))
    assert all(torch.equal(a.frames, b.frames) for a, b in zip(first, fresh, strict=True)), "kept or not, the same batch is the same"


def test_a_cell_is_the_same_alone_and_in_a_batch_but_for_roundings(tiny_backbone: Path, tmp_path: Path, clip: Clip) -> None:
    module = make(tiny_backbone, tmp_path, keeps=False, moved=1.0)
    together = module.generate(clip, cells(clip, 0, 1, 2, 3, 4, 5, 6, 7))
    steps = torch.stack([(module.generate(clip, cells(clip, s.seed))[0].frames - s.frames).abs() * 255 for s in together])
    assert steps.max() < 1.5, "at most one step of 1/255"
    assert (steps > 0.5).float().mean() < 0.01, "of few pixels"


def test_everything_that_determines_a_video_counts(tiny_backbone: Path, tmp_path: Path, clip: Clip, generated: list[int]) -> None:
    make(tiny_backbone, tmp_path, moved=1.0).generate(clip, cells(clip, 0))
    other = Clip(1 - clip.frames, clip.fps, clip.caption, clip.name)
    changes: list[tuple[dict[str, Any], Clip, list[Cell]]] = [
        ({"moved": 0.5}, clip, cells(clip, 0)),
        ({"steps": 3}, clip, cells(clip, 0)),
        ({}, clip, cells(clip, 1)),
        ({}, clip, cells(clip, 0, prompt="a red ring")),
        ({}, clip, cells(clip, 0, noise="blend")),
        ({}, other, cells(other, 0, noise="blend")),
        ({"noises": {"blend": {"rho": 0.3}}}, clip, cells(clip, 0, noise="blend")),
    ]
    for options, source, batch in changes:
        make(tiny_backbone, tmp_path, **{"moved": 1.0, **options}).generate(source, batch)
    assert len(generated) == 1 + len(changes)
    make(tiny_backbone, tmp_path, moved=1.0, noises={"blend": {"rho": 0.3}}).generate(clip, cells(clip, 0))
    make(tiny_backbone, tmp_path, moved=1.0).generate(other, cells(other, 0))
    assert len(generated) == 1 + len(changes), "on random noise neither the blend's options nor the reference's frames matter"


def test_a_video_that_is_not_finite_is_refused(tiny_backbone: Path, tmp_path: Path, clip: Clip) -> None:
    module = make(tiny_backbone, tmp_path, moved=float("nan"))
    with pytest.raises(FloatingPointError, match="a generated video is not finite.*lower model.optimizer.lr"):
        module.generate(clip, cells(clip, 0))
    assert not [path for path in (tmp_path / "videos").rglob("*") if path.is_file()]
