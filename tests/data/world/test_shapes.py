"""Properties of the built-in world: what a scene says is what its pixels show."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from motion_ablation.data.world.shapes import (
    CAMERAS,
    COLORS,
    MOTIONS,
    SHAPES,
    TRANSLATIONS,
    Array,
    Scene,
    appearances,
    is_held_out,
    render,
    sample_scene,
    trajectory,
)
from motion_ablation.data.world.stream import ShapesDataset

SOLID = ("circle", "square", "triangle", "star", "cross")  # a ring has no colour at its centre
seeds = st.integers(0, 2**32 - 1)
few = settings(max_examples=25, deadline=None)


def segment(frame: Array, color: str) -> Array:
    """Centre of mass, (x, y) in ``[-1, 1]``, of the pixels nearest to a colour in ``(3, h, w)``."""
    distance = np.abs(frame - np.asarray(COLORS[color], np.float32)[:, None, None]).max(0)
    rows, columns = np.nonzero(distance < 0.06)
    return (np.array([columns.mean(), rows.mean()]) + 0.5) / frame.shape[1] * 2 - 1


@few
@given(seeds)
def test_a_seed_determines_the_video(seed: int) -> None:
    first, second = (sample_scene(np.random.default_rng(seed)) for _ in range(2))
    assert first == second
    np.testing.assert_array_equal(render(first, 3, 16)[0], render(second, 3, 16)[0])


@few
@given(seeds, st.booleans())
def test_scenes_stay_on_their_side_of_the_split(seed: int, held_out: bool) -> None:
    scene = sample_scene(np.random.default_rng(seed), held_out=held_out)
    assert scene.color != scene.background
    assert is_held_out(scene.shape, scene.color, scene.background) == held_out


def test_split_is_disjoint_and_complete() -> None:
    held, kept = set(appearances(True)), set(appearances(False))
    assert not held & kept
    assert len(held) + len(kept) == len(SHAPES) * len(COLORS) * (len(COLORS) - 1)
    assert 0.1 < len(held) / len(held | kept) < 0.25
    for axis, names in enumerate((SHAPES, COLORS, COLORS)):  # nothing that is held out is an unknown word
        assert {triple[axis] for triple in held} == {triple[axis] for triple in kept} == set(names)


@few
@given(seeds, st.sampled_from(SOLID), st.sampled_from(MOTIONS))
def test_the_object_has_its_colour_at_its_true_centre(seed: int, shape: str, motion: str) -> None:
    scene = sample_scene(np.random.default_rng(seed), shape=shape, motion=motion, camera="static")
    video, truth = render(scene, 8, 48)
    assert np.abs(truth.center).max() < 1
    for frame, center in zip(video, truth.center, strict=True):
        x, y = np.clip(((center + 1) / 2 * 48).astype(int), 0, 47)
        np.testing.assert_allclose(frame[:, y, x], COLORS[scene.color], atol=1e-5)


@few
@given(seeds, st.sampled_from(sorted(TRANSLATIONS)))
def test_translations_go_the_way_they_say(seed: int, motion: str) -> None:
    scene = replace(
        sample_scene(np.random.default_rng(seed), shape="circle", motion=motion, camera="static"), color="red", background="blue"
    )
    video, truth = render(scene, 4, 64)
    seen = segment(video[-1], "red") - segment(video[0], "red")
    np.testing.assert_allclose(seen, truth.center[-1] - truth.center[0], atol=0.05)
    assert seen @ np.array(TRANSLATIONS[motion]) > 0.5


def test_clockwise_is_clockwise_on_screen() -> None:
    for motion, sign in (("circling clockwise", 1), ("circling counterclockwise", -1)):
        truth = trajectory(Scene("circle", "red", "blue", motion=motion), 16)
        before, after = truth.center[:-1], truth.center[1:]
        assert (sign * (before[:, 0] * after[:, 1] - before[:, 1] * after[:, 0]) > 0).all()  # y points downwards


def test_growing_and_shrinking_change_the_area() -> None:
    for motion, grows in (("growing", True), ("shrinking", False)):
        video, truth = render(Scene("circle", "red", "blue", motion=motion, radius=0.24), 8, 64)
        areas = (video[:, 0] > 0.6).sum((1, 2))
        assert (np.diff(areas) > 0).all() == grows
        assert (np.diff(truth.scale) > 0).all() == grows


@pytest.mark.parametrize("camera", [name for name in CAMERAS if name != "static"])
def test_the_camera_moves_the_texture_and_the_truth(camera: str) -> None:
    still = Scene("circle", "red", "blue", radius=0.2)
    video, truth = render(replace(still, camera=camera), 8, 32)
    corner = video[:, :, :6, :6]
    assert np.abs(np.diff(corner, axis=0)).max((1, 2, 3)).min() > 1e-3
    if "panning" in camera:
        sign = 1 if camera.endswith("right") else -1
        assert (sign * np.diff(truth.pan[:, 0]) > 0).all() and (sign * np.diff(truth.center[:, 0]) < 0).all()
    else:
        assert ((np.diff(truth.zoom) > 0) == camera.endswith("in")).all() and ((np.diff(truth.scale) > 0) == camera.endswith("in")).all()


def test_a_static_camera_leaves_the_texture_alone() -> None:
    video, _ = render(Scene("circle", "red", "blue", motion="moving right", radius=0.2), 4, 32)
    np.testing.assert_array_equal(video[0, :, :4], video[-1, :, :4])


@few
@given(seeds, st.integers(1, 20), st.sampled_from([8, 24, 40]))
def test_length_and_size_are_parameters(seed: int, frames: int, size: int) -> None:
    video, truth = render(sample_scene(np.random.default_rng(seed)), frames, size)
    assert video.shape == (frames, 3, size, size) and video.dtype == np.float32
    assert video.min() >= 0 and video.max() <= 1
    assert {key: value.shape for key, value in vars(truth).items()} == {
        "center": (frames, 2), "scale": (frames,), "angle": (frames,), "zoom": (frames,), "pan": (frames, 2),
    }  # fmt: skip


@few
@given(seeds)
def test_size_does_not_change_the_scene(seed: int) -> None:
    scene = sample_scene(np.random.default_rng(seed))
    large, _ = render(scene, 2, 64)
    small, _ = render(scene, 2, 32)
    pooled = large.reshape(2, 3, 32, 2, 32, 2).mean((3, 5))
    assert np.abs(pooled - small).mean() < 0.02


def test_captions_with_and_without_motion() -> None:
    scene = Scene("star", "red", "blue", motion="bouncing", camera="zooming in")
    assert scene.caption() == "a red star bouncing on a blue background camera zooming in"
    assert scene.caption(motion=False) == "a red star on a blue background"


def test_every_shape_motion_and_camera_draws() -> None:
    for shape in SHAPES:
        for motion in MOTIONS:
            for camera in CAMERAS:
                video, _ = render(Scene(shape, "red", "blue", motion=motion, camera=camera), 2, 8)
                assert np.isfinite(video).all()


@pytest.mark.parametrize("field", ["motion", "camera", "shape"])
def test_unknown_words_are_refused_with_the_choices(field: str) -> None:
    scene = replace(Scene("star", "red", "blue"), **{field: "sideways"})
    with pytest.raises(ValueError, match=f"unknown {field} 'sideways'. Choices: "):
        render(scene, 2, 8)


def test_stream_items_depend_on_seed_and_index_alone() -> None:
    first, second = ShapesDataset(4, frames=2, size=8, seed=3), ShapesDataset(9, frames=2, size=8, seed=3)
    assert first[2]["caption"] == second[2]["caption"] and (first[2]["frames"] == second[2]["frames"]).all()
    assert (first[1]["frames"] != first[2]["frames"]).any()
    assert (first[2]["frames"] != ShapesDataset(4, frames=2, size=8, seed=4)[2]["frames"]).any()
    with pytest.raises(IndexError):
        first[4]
