"""The built-in backbone's measures, against videos whose truth is known."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import TextToVideoSDPipeline

from motion_ablation.backbones import UNet3DBackbone
from motion_ablation.data.world.shapes import MOTIONS, SHAPES, Scene, render, sample_scene
from motion_ablation.pretrain.measures import motion_of, obeys, shape_recognised, steadiness
from motion_ablation.pretrain.probes import TIMESTEPS, encoded, held_out_scenes, loss_by_timestep, text_differences, text_to_motion
from motion_ablation.weights import BUILTIN

SCENE = Scene("star", "red", "blue", motion="moving right", travel=1.0)


def video(scene: Scene) -> torch.Tensor:
    return torch.from_numpy(render(scene)[0])


@pytest.mark.parametrize("motion", MOTIONS)
def test_a_true_video_obeys_its_own_motion_and_no_other(motion: str) -> None:
    for scene in held_out_scenes(6, 7, motion=motion):
        frames = video(scene)
        assert obeys(frames, scene)
        same = {"spinning", "standing still"} if scene.shape in ("circle", "ring") else {motion}
        assert not any(obeys(frames, replace(scene, motion=other)) for other in MOTIONS if other != motion and not {motion, other} <= same)


def test_a_motion_needs_an_object() -> None:
    frames = video(SCENE)
    frames[4:] = frames[0, :, :1, :1]
    assert motion_of(frames, SCENE) is None


def test_a_steady_object_is_told_from_a_flickering_and_from_a_vanishing_one() -> None:
    frames = video(SCENE)
    still = steadiness(video(replace(SCENE, motion="standing still")), "red")
    assert still["mask_iou"] > 0.99
    steady = steadiness(frames, "red")
    assert steady["mask_iou"] > 0.85, "a mask that moves is centred to whole pixels"
    assert steady["without_object"] == 0 and steady["area_variation"] < 0.05
    others = torch.stack([video(replace(SCENE, shape=SHAPES[index % 6], radius=0.2 + 0.02 * (index % 3)))[index] for index in range(16)])
    flickering = steadiness(others, "red")
    assert flickering["mask_iou"] < 0.75 and flickering["area_variation"] > 0.2
    gone = frames.clone()
    gone[::4] = gone[0, :, :1, :1]
    vanishing = steadiness(gone, "red")
    assert vanishing["without_object"] == 0.25 and vanishing["mask_iou"] < 0.6


class Chooses:
    """An image-text model that finds every frame to be the fourth text."""

    def images(self, frames: torch.Tensor) -> torch.Tensor:
        return torch.eye(6)[[3] * len(frames)]

    def texts(self, texts: list[str]) -> torch.Tensor:
        assert len(texts) == 6 and all("red" in text and "blue" in text for text in texts)
        return torch.eye(6)


def test_the_shape_is_recognised_among_six() -> None:
    assert shape_recognised(Chooses(), video(SCENE), SCENE) == 1
    assert shape_recognised(Chooses(), video(SCENE), replace(SCENE, shape="circle")) == 0


def test_probes_look_into_a_backbone(tiny_backbone: Path) -> None:
    backbone = UNet3DBackbone(str(tiny_backbone))
    assert all(difference > 0 for difference in text_differences(backbone).values())
    shares = text_to_motion(backbone, looks=1, starts=2, noises=1, frames=2, size=16)
    assert len(shares) == 3 and all(abs(share) < 10 for share in shares.values())
    losses = loss_by_timestep(backbone, clips=2, frames=2, size=16)
    assert tuple(losses) == TIMESTEPS and all(loss > 0 for loss in losses.values())


def test_a_network_that_ignores_its_text_has_no_share(tiny_backbone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    backbone = UNet3DBackbone(str(tiny_backbone))
    embed = backbone.embed
    monkeypatch.setattr(backbone, "embed", lambda texts: embed(["the same"] * len(texts)))
    shares = text_to_motion(backbone, looks=1, starts=2, noises=1, frames=2, size=16)
    assert max(abs(share) for share in shares.values()) < 1e-4


def test_a_network_that_predicts_the_mean_of_each_motion_has_all_of_it(tiny_backbone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    backbone = UNet3DBackbone(str(tiny_backbone))
    base = held_out_scenes(1, 41)[0]
    shown: dict[str, Any] = {"shape": base.shape, "color": base.color, "background": base.background, "camera": "static"}

    def mean_clip(text: str) -> torch.Tensor:
        motion = next(motion for motion in MOTIONS if motion in text)
        scenes = [sample_scene(np.random.default_rng((9, start)), motion=motion, **shown) for start in range(80)]
        return torch.stack([encoded(backbone, scene, 4, 16) for scene in scenes]).mean(0)

    monkeypatch.setattr(backbone, "embed", lambda texts: texts)
    monkeypatch.setattr(backbone, "denoise", lambda noisy, timestep, texts: -torch.stack([mean_clip(text) for text in texts]))
    shares = text_to_motion(backbone, looks=1, starts=40, noises=1, frames=4, size=16)
    assert all(share == pytest.approx(1, abs=0.2) for share in shares.values()), shares


def test_the_shipped_weights_serve_diffusers_own_pipeline() -> None:
    pipeline = TextToVideoSDPipeline.from_pretrained(BUILTIN / "shapes")
    pipeline.set_progress_bar_config(disable=True)
    frames = pipeline("a red star", height=64, width=64, num_frames=2, num_inference_steps=1, output_type="pt").frames
    assert frames.shape == (1, 2, 3, 64, 64) and torch.isfinite(frames).all()
