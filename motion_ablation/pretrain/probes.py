"""Where a text-to-video model loses its words or its frames: measured inside the network, without generating."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from motion_ablation.backbones import UNet3DBackbone
from motion_ablation.data.world.shapes import MOTIONS, Scene, appearances, render, sample_scene

WORDS = {
    "motion": ("a red circle moving right on a blue background", "a red circle moving left on a blue background"),
    "size": ("a red circle growing on a blue background", "a red circle shrinking on a blue background"),
    "color": ("a red circle moving right on a blue background", "a green circle moving right on a blue background"),
    "shape": ("a red circle moving right on a blue background", "a red star moving right on a blue background"),
    "background": ("a red circle moving right on a blue background", "a red circle moving right on a yellow background"),
}
OPPOSITES = (("moving right", "moving left"), ("moving up", "moving down"), ("growing", "shrinking"))
"""Motions whose mean clips differ. Clockwise and counterclockwise do not: from a random phase, both mean the same smear."""
TIMESTEPS = (950, 750, 500, 250, 80)


def text_differences(backbone: UNet3DBackbone) -> dict[str, float]:
    """How far one word moves the text features: the root mean square of the difference, by kind of word."""
    return {
        kind: float((backbone.embed([first]) - backbone.embed([second])).square().mean().sqrt()) for kind, (first, second) in WORDS.items()
    }


def held_out_scenes(count: int, seed: int, **fixed: Any) -> list[Scene]:
    """Scenes of different held-out appearances under a static camera."""
    rng = np.random.default_rng(seed)
    rows = appearances(held_out=True)
    chosen = [rows[row] for row in rng.permutation(len(rows))[:count]]
    return [sample_scene(rng, shape=s, color=c, background=b, **({"camera": "static"} | fixed)) for s, c, b in chosen]


def encoded(backbone: UNet3DBackbone, scene: Scene, frames: int, size: int) -> Tensor:
    """Latents ``(c, f, h, w)`` of the true video."""
    return backbone.encode(torch.from_numpy(render(scene, frames, size)[0])).mean[0]


@torch.no_grad()
def text_to_motion(
    backbone: UNet3DBackbone, looks: int = 4, starts: int = 20, noises: int = 4, frames: int = 16, size: int = 64
) -> dict[str, float]:
    """How much of what a motion word should change does change at pure noise, on held-out appearances: 1 is all, 0 nothing.

    From pure noise the best prediction is the mean of all clips that the caption allows. So the predicted clean video of one word less
    that of its opposite is projected on the difference of the true means. A mean over random starts holds noise of its own, which no
    network can predict; so the true difference is measured twice, each over ``starts`` starts, and what the two agree on is the 1:
    ``predicted @ (first + second) / 2``, summed over ``looks`` appearances, over the same sum of ``first @ second``.
    """
    shares: dict[str, float] = {}
    last = torch.tensor(backbone.diffusion.scheduler.config["num_train_timesteps"] - 1)
    for pair in OPPOSITES:
        reached = attainable = 0.0
        for look, base in enumerate(held_out_scenes(looks, 41)):
            shown: dict[str, Any] = {"shape": base.shape, "color": base.color, "background": base.background, "camera": "static"}
            means, texts = [], []
            for motion in pair:
                scenes = [
                    sample_scene(np.random.default_rng((look, MOTIONS.index(motion), start)), motion=motion, **shown)
                    for start in range(2 * starts)
                ]
                clips = torch.stack([encoded(backbone, scene, frames, size) for scene in scenes])
                means.append(clips.unflatten(0, (2, starts)).mean(1))
                texts.append(scenes[0].caption())
            first, second = means[0] - means[1]
            text = backbone.embed(texts)
            noise = torch.randn(noises, 1, *first.shape, generator=torch.Generator().manual_seed(look))
            # At pure noise the signal's share is 0, so the velocity is minus the clean video.
            clean: Any = -sum(backbone.denoise(z.expand(2, *first.shape), last, text) for z in noise) / noises
            reached += float(((clean[0] - clean[1]) * (first + second) / 2).sum())
            attainable += float((first * second).sum())
        shares[" / ".join(pair)] = reached / attainable
    return shares


@torch.no_grad()
def loss_by_timestep(backbone: UNet3DBackbone, clips: int = 16, frames: int = 16, size: int = 64) -> dict[int, float]:
    """Mean squared error of the predicted velocity on held-out clips with their captions, at a few timesteps."""
    scenes = held_out_scenes(clips, 43)
    clean = torch.stack([encoded(backbone, scene, frames, size) for scene in scenes])
    noise = torch.randn(clean.shape, generator=torch.Generator().manual_seed(0))
    text, losses = backbone.embed([scene.caption() for scene in scenes]), {}
    for timestep in TIMESTEPS:
        steps = torch.full((clips,), timestep)
        noisy, target = (make(clean, noise, steps) for make in (backbone.noised, backbone.target))
        losses[timestep] = float((backbone.denoise(noisy, torch.tensor(timestep), text) - target).square().mean())
    return losses
