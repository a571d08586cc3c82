"""The built-in judge, on rendered truth: what is drawn is found, and what is not drawn is not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from motion_ablation.data.world.shapes import CAMERAS, COLORS, MOTIONS, SHAPES, TRANSLATIONS, Scene, render, sample_scene, trajectory
from motion_ablation.metrics import direction
from motion_ablation.metrics import trajectory_error as mean_distance
from motion_ablation.metrics.segmentation import appearance_of, object_centers, object_mask, shows_colors

MOVING = (*TRANSLATIONS, "circling clockwise", "circling counterclockwise", "bouncing", "swinging")
seeds = st.integers(0, 2**32 - 1)
few = settings(max_examples=25, deadline=None)


def drawn(scene: Scene, frames: int = 16, size: int = 64) -> tuple[Tensor, Tensor]:
    """Frames ``(f, 3, size, size)`` and true centres ``(f, 2)``."""
    video, truth = render(scene, frames, size)
    return torch.from_numpy(video), torch.from_numpy(truth.center)


def trajectory_error(frames: Tensor, color: str, truth: Tensor) -> tuple[float, float]:
    """Distance and direction of the object of a colour."""
    centers, visible = object_centers(frames, color)
    return float(mean_distance(centers, visible, truth)), float(direction(centers, visible, truth))


@few
@given(seeds, st.sampled_from(MOVING), st.sampled_from([s for s in SHAPES if s != "triangle"]))
def test_a_scene_follows_its_own_trajectory(seed: int, motion: str, shape: str) -> None:
    scene = sample_scene(np.random.default_rng(seed), motion=motion, camera="static", shape=shape)
    distance, cosine = trajectory_error(*_with_color(scene))
    assert distance < 0.06
    assert cosine > 0.9


def _with_color(scene: Scene) -> tuple[Tensor, str, Tensor]:
    frames, center = drawn(scene)
    return frames, scene.color, center


@few
@given(seeds, st.sampled_from(["moving left", "moving right", "moving up", "moving down"]))
def test_the_opposite_motion_is_far_off(seed: int, motion: str) -> None:
    scene = sample_scene(np.random.default_rng(seed), motion=motion, camera="static", shape="circle")
    frames, center = drawn(scene)
    distance, cosine = trajectory_error(frames.flip(0), scene.color, center)
    assert distance > 0.3
    assert cosine < -0.9


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("color", COLORS)
def test_every_object_is_found_on_every_background(shape: str, color: str) -> None:
    for background in set(COLORS) - {color}:
        frames, center = drawn(Scene(shape, color, background, motion="moving right", start=(0.0, 0.1), radius=0.35))
        found, visible = object_centers(frames, color)
        assert visible.all()
        off = 0.1 if shape == "triangle" else 0.05  # a triangle's pixels lie below its centre
        assert (found - center).norm(dim=1).max() < off, background
        assert shows_colors(frames, color, background)
        assert not shows_colors(frames, background, color)


def test_other_colours_are_not_what_was_asked_for() -> None:
    frames, _ = drawn(Scene("circle", "red", "blue"))
    others = [
        (color, background) for color in COLORS for background in COLORS if color != background and (color, background) != ("red", "blue")
    ]
    assert not [pair for pair in others if shows_colors(frames, *pair)]


@pytest.mark.parametrize(
    ("scene", "why"),
    [
        (Scene("circle", "red", "blue", radius=0.04), "too small"),
        (Scene("square", "red", "blue", radius=1.2), "no background left"),
    ],
)
def test_a_frame_without_both_is_not_counted(scene: Scene, why: str) -> None:
    assert not shows_colors(drawn(scene)[0], "red", "blue"), why


def test_the_share_of_good_frames_counts() -> None:
    good, empty = drawn(Scene("circle", "red", "blue"), 4)[0], drawn(Scene("circle", "blue", "blue"), 4)[0]
    assert shows_colors(torch.cat([good, good, good, empty]), "red", "blue")
    assert not shows_colors(torch.cat([good, good, empty]), "red", "blue")


def test_an_object_that_is_not_there_counts_one() -> None:
    empty, center = drawn(Scene("circle", "blue", "blue", motion="moving right"))
    assert trajectory_error(empty, "red", center) == (1.0, 0.0)
    centers, visible = object_centers(empty, "red")
    assert not visible.any() and not centers.any()


def test_where_nothing_should_move_there_is_no_direction() -> None:
    frames, center = drawn(Scene("circle", "red", "blue", motion="standing still"))
    distance, cosine = trajectory_error(frames, "red", center)
    assert distance < 0.02 and cosine == 0


def test_a_frozen_object_has_no_direction() -> None:
    scene = Scene("circle", "red", "blue", motion="moving right")
    still = drawn(replace(scene, motion="standing still"))[0]
    _, cosine = trajectory_error(still, "red", torch.from_numpy(trajectory(scene, 16).center))
    assert cosine == pytest.approx(0, abs=1e-6)


def test_a_mask_is_the_object() -> None:
    frames, _ = drawn(Scene("square", "yellow", "purple", radius=0.5), 1)
    area = object_mask(frames, "yellow").float().mean().item()
    assert area == pytest.approx((2 * 0.5 * 0.85 / 2) ** 2, abs=0.02)


@few
@given(seeds, st.sampled_from(MOTIONS), st.sampled_from(CAMERAS), st.booleans())
def test_captions_tell_the_appearance(seed: int, motion: str, camera: str, with_motion: bool) -> None:
    scene = sample_scene(np.random.default_rng(seed), motion=motion, camera=camera)
    assert appearance_of(scene.caption(with_motion)) == (scene.shape, scene.color, scene.background)


@pytest.mark.parametrize("prompt", ["", "a dog", "a red dog on a blue background", "a red circle", "a mauve circle on a blue background"])
def test_other_texts_have_no_appearance(prompt: str) -> None:
    assert appearance_of(prompt) is None


def test_an_orange_background_may_have_either_article() -> None:
    assert appearance_of("a blue cross on an orange background") == appearance_of("a blue cross on a orange background")
