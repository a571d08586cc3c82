"""Motion fidelity against a slow loop, its edges, and the tracker on videos of known motion."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from motion_ablation.data.world.shapes import Scene, render
from motion_ablation.metrics import MotionFidelity, OpenCVTracker, Tracks, motion_fidelity
from motion_ablation.metrics.motion_fidelity import PROTOCOLS, STILL, dmt_motion_fidelity


def random_tracks(seed: int, frames: int, points: int, batch: int = 2) -> Tracks:
    rng = torch.Generator().manual_seed(seed)
    steps = torch.randn(batch, frames, points, 2, generator=rng) * 0.05 * (torch.rand(batch, frames, points, 1, generator=rng) > 0.3)
    return Tracks(steps.cumsum(1), torch.rand(batch, frames, points, generator=rng) > 0.2)


def slow(generated: Tracks, source: Tracks, index: int, static: float) -> float:
    frames = min(generated.points.shape[1], source.points.shape[1])

    def corr(n: int, m: int) -> float | None:
        cosines = []
        for t in range(frames - 1):
            if not all(bool(tracks.visible[index, s, p]) for tracks, p in ((generated, n), (source, m)) for s in (t, t + 1)):
                continue
            u = (generated.points[index, t + 1, n] - generated.points[index, t, n]).double()
            v = (source.points[index, t + 1, m] - source.points[index, t, m]).double()
            moves = [float(x.norm()) >= static and float(x.norm()) > 0 for x in (u, v)]
            cosines.append(float(u @ v / u.norm() / v.norm()) if all(moves) else float(static > 0 and not any(moves)))
        return sum(cosines) / len(cosines) if cosines else None

    table = [[corr(n, m) for m in range(source.points.shape[2])] for n in range(generated.points.shape[2])]
    means = []
    for rows in (table, list(zip(*table, strict=True))):
        best = [max(c for c in row if c is not None) for row in rows if any(c is not None for c in row)]
        means.append(sum(best) / len(best) if best else 0.0)
    return sum(means) / 2


@settings(max_examples=12, deadline=None)
@given(st.integers(0, 10**6), st.integers(2, 5), st.integers(2, 5), st.integers(1, 5), st.integers(1, 4), st.sampled_from([0.0, STILL]))
def test_equals_slow_loop(seed: int, f: int, g: int, n: int, m: int, static: float) -> None:
    """The published formula, and with a threshold the rule for static steps."""
    generated, source = random_tracks(seed, f, n), random_tracks(seed + 1, g, m)
    scores = motion_fidelity(generated, source, static)
    assert scores.tolist() == pytest.approx([slow(generated, source, index, static) for index in range(2)], abs=1e-5)
    order = torch.randperm(n)
    permuted = Tracks(generated.points[:, :, order], generated.visible[:, :, order])
    assert torch.allclose(motion_fidelity(permuted, source, static), scores, atol=1e-5)


def test_slow_motion_has_a_direction_by_the_formula() -> None:
    """Half a pixel of 512 a frame to the right against to the left: -1 by the formula, and +1 where such steps count as static."""
    start = torch.rand(1, 1, 20, 2) - 0.5
    right, left = (start + sign * torch.arange(8.0).view(1, 8, 1, 1) * torch.tensor([0.5 / 256, 0.0]) for sign in (1, -1))
    seen = torch.ones(1, 8, 20, dtype=torch.bool)
    assert motion_fidelity(Tracks(right, seen), Tracks(left, seen)).item() == pytest.approx(-1, abs=1e-5)
    assert motion_fidelity(Tracks(right, seen), Tracks(left, seen), STILL).item() == pytest.approx(1, abs=1e-5)


def test_static_lost_and_short() -> None:
    still = Tracks(torch.zeros(1, 4, 3, 2), torch.ones(1, 4, 3, dtype=torch.bool))
    move = Tracks(torch.arange(4.0).view(1, 4, 1, 1).expand(1, 4, 3, 2) * 0.1, still.visible)
    pairs = ((still, still), (still, move), (move, move))
    assert [motion_fidelity(a, b).item() for a, b in pairs] == pytest.approx([0, 0, 1])
    assert [motion_fidelity(a, b, STILL).item() for a, b in pairs] == pytest.approx([1, 0, 1])
    assert motion_fidelity(move, Tracks(-move.points, move.visible)).item() == pytest.approx(-1)
    assert motion_fidelity(move, Tracks(move.points * float("nan"), ~still.visible)).item() == 0
    with pytest.raises(ValueError, match="2 common frames"):
        motion_fidelity(move, Tracks(move.points[:, :1], move.visible[:, :1]))


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_flat_video_is_withheld_with_its_reason(protocol: str) -> None:
    metric, flat = MotionFidelity(protocol, OpenCVTracker(grid=3, corners=4)), torch.full((1, 3, 3, 32, 32), 0.5)
    with pytest.warns(UserWarning, match="no score for 1 of 1 videos; videos that lost 90% of their tracks"):
        metric.update(flat, flat)
    metric.update(video(SCENE, 3), video(SCENE, 3))
    assert metric.compute().item() == metric.score(video(SCENE, 3), video(SCENE, 3)).item(), "what is withheld is left out of the mean"
    assert metric.withheld == metric.protocol["withheld_videos"] == 1 and metric.protocol["lost_tracks"] > 0.5
    assert "90%" in metric.protocol["warning"]
    with pytest.warns(UserWarning, match="no score"):
        assert metric.score(video(SCENE, 3), flat).isnan().all(), "nor is there a score where the reference has no tracks"


def test_unknown_protocol_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown protocol 'dtm'. Choices: calibrated, two_way, two_way_static, dmt"):
        MotionFidelity("dtm")


@pytest.mark.parametrize("protocol", ["two_way", "dmt"])
def test_the_published_formulas_know_no_threshold(protocol: str) -> None:
    assert "static" not in MotionFidelity(protocol).protocol and "static" in MotionFidelity().protocol
    with pytest.raises(ValueError, match=f"protocol '{protocol}' takes no static"):
        MotionFidelity(protocol, static=0.01)


def test_dmt_leaves_out_what_is_never_visible() -> None:
    mine, theirs = (random_tracks(seed, 6, 5, batch=1) for seed in (0, 1))
    mine, theirs = (Tracks(t.points, torch.ones_like(t.visible)) for t in (mine, theirs))
    expected = dmt_motion_fidelity(mine, theirs).item()
    for places in (0, 3, 200):
        empty = torch.zeros(1, 6, places, dtype=torch.bool)
        padded = (Tracks(torch.cat([t.points, torch.zeros(1, 6, places, 2)], 2), torch.cat([t.visible, empty], 2)) for t in (mine, theirs))
        assert dmt_motion_fidelity(*padded).item() == pytest.approx(expected, abs=1e-9)


def test_empty_places_for_corners_change_no_score() -> None:
    """Corners that a frame does not have are places without a track."""
    frames = [video(SCENE, 6), video(replace(SCENE, motion="moving up"), 6)]
    few, many = (MotionFidelity("dmt", OpenCVTracker(corners=count)) for count in (60, 600))
    found = [_corner_count(frame) for frame in frames]
    assert max(found) < 60, "the frames must have fewer corners than places"
    assert few.score(*frames).item() == pytest.approx(many.score(*frames).item(), abs=1e-6)
    few.update(*frames)
    assert few.protocol["tracks"] == 144 + found[0]


def _corner_count(frames: torch.Tensor) -> int:
    return int(OpenCVTracker(grid=1, corners=600)(frames).exist.sum()) - 1


def slow_dmt(generated: Tracks, source: Tracks) -> float:
    """The script's arithmetic, by loops: unit steps, mean cosine, the same index less one, best of each row, mean."""
    g, s = generated.points[0].double().numpy(), source.points[0].double().numpy()
    best = []
    for n in range(g.shape[1]):
        row = []
        for m in range(s.shape[1]):
            cosines = []
            for t in range(len(g) - 1):
                u, v = g[t + 1, n] - g[t, n], s[t + 1, m] - s[t, m]
                cosines.append(u @ v / (np.linalg.norm(u) * np.linalg.norm(v)))
            row.append(np.mean(cosines) - (n == m))
        best.append(max(row))
    return float(np.mean(best))


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 10**6), st.integers(2, 5), st.integers(2, 5), st.integers(2, 5))
def test_dmt_equals_the_script_on_given_tracks(seed: int, f: int, n: int, m: int) -> None:
    rng = torch.Generator().manual_seed(seed)
    seen = torch.ones(1, f, 1, dtype=torch.bool)
    generated, source = (Tracks(torch.randn(1, f, k, 2, generator=rng), seen.expand(1, f, k)) for k in (n, m))
    assert dmt_motion_fidelity(generated, source).item() == pytest.approx(slow_dmt(generated, source), abs=1e-5)


def test_dmt_does_not_turn_nan_on_a_still_step() -> None:
    moving = random_tracks(3, 4, 3, batch=1)
    still = Tracks(torch.zeros(1, 4, 3, 2), moving.visible)
    with np.errstate(invalid="ignore"):
        assert np.isnan(slow_dmt(still, moving))
    assert dmt_motion_fidelity(still, moving).item() == pytest.approx(0, abs=1e-9)


SCENE = Scene("square", "red", "green", "moving right", start=(0.0, 0.1), radius=0.32)


def video(scene: Scene, frames: int = 16) -> torch.Tensor:
    return torch.from_numpy(render(scene, frames)[0])[None]


def test_object_tracks_follow_the_truth() -> None:
    for motion in ("moving right", "moving up", "circling clockwise"):
        scene = replace(SCENE, motion=motion)
        frames, truth = render(scene)
        tracks = OpenCVTracker()(torch.from_numpy(frames)[None])
        points, visible = tracks.points[0].numpy(), tracks.visible[0].numpy()
        inside = np.abs(points[0] - truth.center[0]).max(1) < 0.9 * truth.scale[0]
        error = np.abs(points - points[:1] - (truth.center - truth.center[:1])[:, None]).max(-1)[:, inside]
        seen = visible[:, inside]
        assert seen[-1].sum() >= 4 and np.mean(error[seen] < 0.04) > 0.95, motion


def test_points_are_normalised_and_as_many_in_every_video() -> None:
    tracks = OpenCVTracker(grid=2, corners=8)(torch.rand(1, 2, 3, 20, 40))
    assert tracks.points.shape == (1, 2, 12, 2) and tracks.points.abs().max() <= 1
    assert tracks.points[0, 0, :4].tolist() == [[-0.5, -0.5], [0.5, -0.5], [-0.5, 0.5], [0.5, 0.5]]


def test_same_motion_beats_other_motion_whatever_the_appearance() -> None:
    metric, other = MotionFidelity("two_way_static"), replace(SCENE, shape="star", color="cyan", background="purple")
    reference = video(SCENE)
    same, still, opposite = (
        metric.score(video(replace(other, motion=m)), reference).item() for m in ("moving right", "standing still", "moving left")
    )
    assert metric.score(reference, reference).item() == pytest.approx(1, abs=1e-5)
    assert same > 0.97 and same > still + 0.03 and same > opposite + 0.03
    assert metric.score(video(SCENE, 12), reference).item() > 0.8


def test_every_protocol_scores_real_videos_within_its_range() -> None:
    videos = torch.cat([video(SCENE, 8), video(replace(SCENE, motion="moving up"), 8)])
    for protocol in PROTOCOLS:
        metric = MotionFidelity(protocol)
        assert (metric.score(videos, videos.flip(0)).abs() <= 1).all()
        assert metric.protocol["protocol"] == protocol and "lost_tracks" not in metric.protocol
        metric.update(videos, videos)
        assert 0 <= metric.protocol["lost_tracks"] <= 1 and ("static_tracks" in metric.protocol) == (protocol == "calibrated")
