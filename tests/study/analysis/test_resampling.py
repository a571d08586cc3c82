"""Sets are resampled by their videos, in pairs; the spread that this finds is the true one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from motion_ablation.metrics import METRICS, frechet_from_features
from motion_ablation.metrics.fid import frechet_of_few
from motion_ablation.study.analysis import resampling
from motion_ablation.study.analysis.intervals import Group, interval
from motion_ablation.study.analysis.resampling import Resampler, draws_of, resampled_scores
from motion_ablation.study.plan.study import Study
from motion_ablation.study.results import Results

FRAMES, DIMENSION = 6, 4


class Pixels:
    """Frames are their own features."""

    reads = ("frames", "reference")

    def features_of(self, frames: Tensor) -> Tensor:
        return frames.flatten(0, 1)

    def from_features(self, generated: Tensor, reference: Tensor) -> float:
        return frechet_of_few(generated, reference)


@pytest.mark.parametrize("name", ["fid", "kid"])
def test_set_metrics_score_features_as_they_score_videos(name: str, tiny_clip: Path) -> None:
    generator = torch.Generator().manual_seed(0)
    videos, reference = torch.rand(3, 4, 3, 16, 16, generator=generator), torch.rand(1, 4, 3, 16, 16, generator=generator) ** 2
    metric = METRICS.build(name, features=str(tiny_clip))
    metric.update(videos, reference.expand(3, -1, -1, -1, -1))
    found = metric.from_features(metric.features_of(videos), metric.features_of(reference))
    assert found == pytest.approx(float(metric.compute()), rel=1e-3)


@pytest.mark.parametrize(("n", "m", "d"), [(40, 30, 8), (6, 9, 20)])
def test_the_distance_of_few_is_clean_fids(n: int, m: int, d: int) -> None:
    generator = torch.Generator().manual_seed(0)
    a, b = torch.randn(n, d, generator=generator), 0.5 + torch.randn(m, d, generator=generator)
    assert frechet_of_few(a, b) == pytest.approx(frechet_from_features(a, b), rel=1e-3)
    assert frechet_of_few(a, a) == pytest.approx(0, abs=1e-9)
    with pytest.raises(ValueError, match="at least 2 frames"):
        frechet_of_few(a[:1], b)


def test_draws_are_the_same_for_all_experiments() -> None:
    assert (draws_of(5) == draws_of(5)).all() and draws_of(5).shape == (resampling.DRAWS, 5) and draws_of(5).max() == 4


def test_a_draw_scores_the_videos_drawn() -> None:
    videos = list(torch.randn(3, FRAMES, DIMENSION, generator=torch.Generator().manual_seed(0)))
    draws = np.array([[0, 1, 2], [2, 2, 0]])
    scores = resampled_scores(Pixels(), videos, videos[0], draws)
    expected = [frechet_of_few(torch.cat([videos[index] for index in draw]), videos[0]) for draw in draws]
    assert scores.tolist() == pytest.approx(expected)


def test_intervals_of_resampled_sets_hold_the_true_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    """Videos that differ as wholes, so that resampling frames would find too small a spread; the two experiments share some of it."""
    monkeypatch.setattr(resampling, "DRAWS", 60)
    generator = torch.Generator().manual_seed(0)
    reference = torch.randn(FRAMES, DIMENSION, generator=generator)
    studies, videos = 80, 9

    def draw(shift: float, common: Tensor) -> list[Tensor]:
        own = 0.5 * torch.randn(videos, 1, DIMENSION, generator=generator)
        return list(shift + common + own + torch.randn(videos, FRAMES, DIMENSION, generator=generator))

    def pair() -> tuple[list[Tensor], list[Tensor]]:
        common = 0.5 * torch.randn(videos, 1, DIMENSION, generator=generator)
        return draw(0.5, common), draw(0.0, common)

    def difference(a: list[Tensor], b: list[Tensor]) -> float:
        return frechet_of_few(torch.cat(a), reference) - frechet_of_few(torch.cat(b), reference)

    truth = float(np.mean([difference(*pair()) for _ in range(400)]))
    hits = 0
    for _ in range(studies):
        a, b = pair()
        scores = [resampled_scores(Pixels(), side, reference, draws_of(videos)) for side in (a, b)]
        variance = float((scores[0] - scores[1]).var()) * videos / (videos - 1)
        found = interval([Group(difference(a, b), variance, videos - 1)])
        hits += found.low <= truth <= found.high
    assert hits / studies >= 0.95 - 3 * np.sqrt(0.05 * 0.95 / studies)
    assert hits < studies


@pytest.fixture
def study(tmp_path: Path, kept_study: Any) -> Study:
    return kept_study(tmp_path, references="a")


def test_kept_videos_are_resampled_once(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    given = Group(0.25)
    found = Resampler(Results(study)).group(given, ("other", "random"), ("baseline", "random"), "a", {0}, "fid")
    assert found.mean == 0.25 and found.variance > 0 and found.freedom == 3
    assert Resampler(Results(study)).group(given, ("baseline", "random"), ("baseline", "random"), "a", {0}, "fid").variance == 0
    monkeypatch.setattr(resampling, "resampled_scores", lambda *given: pytest.fail("computed again"))
    assert Resampler(Results(study)).group(given, ("other", "random"), ("baseline", "random"), "a", {0}, "fid") == found


def test_without_its_videos_a_set_is_left_alone_and_that_is_said(study: Study) -> None:
    for path in study.run_of("other", "a").folder.glob("frames/*.npz"):
        path.unlink()
    resampler = Resampler(Results(study))
    assert resampler.group(Group(0.25), ("other", "random"), ("baseline", "random"), "a", {0}, "fid").freedom == 0
    assert len(resampler.notes) == 1 and "fid: its videos were not resampled" in resampler.notes[0] and "is not there" in resampler.notes[0]


def test_another_version_of_a_metric_is_refused(study: Study, kept_study: Any) -> None:
    kept_study(study.folder, references="a", protocol={"network": "another"})
    resampler = Resampler(Results(study))
    assert np.isnan(resampler.group(Group(0.25), ("other", "random"), ("baseline", "random"), "a", {0}, "fid").variance)
    assert "another version of fid" in resampler.notes[0] and "run the study again" in resampler.notes[0]


def test_trainings_are_averaged_over_the_same_draws(tmp_path: Path, kept_study: Any) -> None:
    study = kept_study(tmp_path, references="a", train_seeds=(0, 1))
    sides = ("other", "random"), ("baseline", "random")
    alone = [Resampler(Results(study)).group(Group(0.0), *sides, "a", {seed}, "fid").variance for seed in (0, 1)]
    both = Resampler(Results(study)).group(Group(0.0, 0.5, 1.0), ("other", "random"), ("baseline", "random"), "a", {0, 1}, "fid")
    assert 0.5 < both.variance < 0.5 + max(alone) + 1e-12 and 1 < both.freedom < 4
    floor = Resampler(Results(study)).group(Group(0.0), ("no_motion", "random"), ("baseline", "random"), "a", {0, 1}, "fid")
    assert floor.variance > 0, "what trains nothing has one run"
