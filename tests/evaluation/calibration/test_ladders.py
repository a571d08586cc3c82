"""The ladders' truth: errors that are known by hand, videos that stay in the frame, captions as wrong as they say."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from motion_ablation.data.world.shapes import Scene, trajectory
from motion_ablation.evaluation.calibration.ladders import REFERENCES, appearance_ladder, caption_ladder, motion_error, motion_ladder


def truth(**fields: object) -> object:
    return trajectory(Scene("square", "red", "green", **fields), 16)  # type: ignore[arg-type]


def test_error_of_motions_known_by_hand() -> None:
    right, left, still = (truth(motion=m, travel=1.0) for m in ("moving right", "moving left", "standing still"))
    assert motion_error(right, right) == 0
    assert motion_error(right, still) == pytest.approx(0.25, abs=1e-6)  # half of the mean of t from 0 to 1; the camera stands in both
    assert motion_error(right, left) == pytest.approx(0.5, abs=1e-6)
    pan, stays = truth(camera="panning right"), truth()
    assert motion_error(pan, stays) == pytest.approx(0.2, abs=1e-6)  # half of the mean of 0.8 t; the object stands in the world
    assert motion_error(right, truth(motion="moving right", travel=1.0, start=(0.2, 0.1))) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("reference", REFERENCES)
def test_ladder_begins_at_the_reference_and_worsens_within_families(reference: str) -> None:
    rungs = list(motion_ladder(reference, looks=2))
    assert rungs[0].error == 0 and rungs[0].look == 0
    families = {rung.family for rung in rungs}
    always = {"right", "perturbed", "slower", "delayed", "opposite", "none"}
    assert always <= families <= always | {"turned", "mirrored"} and ("turned" in families) == (reference != "zoom")
    assert all(rung.error > 0 for rung in rungs if rung.family != "right")
    for look in (0, 1):
        perturbed = [rung.error for rung in rungs if rung.look == look and rung.family == "perturbed"]
        assert perturbed == sorted(perturbed) and perturbed[0] > 0
    other = [rung for rung in rungs if rung.look == 1]
    assert [rung.error for rung in other] == [rung.error for rung in rungs if rung.look == 0]
    scene, worn = rungs[0].scene, other[0].scene
    assert scene.shape != worn.shape and not {scene.color, scene.background} & {worn.color, worn.background}
    assert torch.equal(rungs[0].frames(), next(iter(motion_ladder(reference, looks=1))).frames())


def test_objects_stay_in_the_frame() -> None:
    for rung in motion_ladder("orbit", looks=1):
        if rung.family != "perturbed":
            assert np.abs(rung.truth.center).max() < 1.05, rung.family


def test_real_clips_have_no_ladder() -> None:
    with pytest.raises(ValueError, match="its true motion is not known"):
        next(motion_ladder("bikes"))


def test_captions_and_looks_are_as_wrong_as_they_say() -> None:
    for frames, _, wrong in caption_ladder(videos=2):
        assert frames.shape == (4, 3, 64, 64) and 0 <= wrong <= 3
    rungs = list(caption_ladder(videos=5))
    for group in (rungs[first : first + 4] for first in range(0, len(rungs), 4)):
        right = group[0][1].split()
        assert [sum(a != b for a, b in zip(right, words.split(), strict=True)) for _, words, _ in group] == [0, 1, 2, 3]
    pairs = list(appearance_ladder(videos=2))
    assert [shared for *_, shared in pairs[:4]] == [0, 1, 2, 3]
    assert torch.equal(pairs[3][0], pairs[3][1]) and not torch.equal(pairs[2][0], pairs[2][1])
