"""Intervals cover as often as they say, for few references and skewed effects; Holm's correction and power by hand and by simulation."""

from __future__ import annotations

from math import inf, isnan, nan, sqrt

import numpy as np
import pytest
from scipy.stats import t, ttest_1samp

from motion_ablation.study.analysis import intervals
from motion_ablation.study.analysis.intervals import Group, group_of, holm, interval, smallest_shown

STUDIES = 400
DRAW = {
    "normal": lambda rng, size: rng.normal(size=size),
    "exponential": lambda rng, size: rng.exponential(size=size) - 1,
    "lognormal": lambda rng, size: (rng.lognormal(size=size) - np.exp(0.5)) / 2.16,
}


@pytest.fixture
def few_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intervals, "DRAWS", 499)


def _covered(kind: str, references: int, between: float, truth: float = 0.3, cells: int = 6) -> float:
    """Share of simulated studies whose interval holds the true difference."""
    rng = np.random.default_rng(references)
    hits = 0
    for _ in range(STUDIES):
        values = truth + between * DRAW[kind](rng, (references, 1)) + DRAW[kind](rng, (references, cells))
        found = interval([group_of(row) for row in values])
        hits += found.low <= truth <= found.high
    return hits / STUDIES


@pytest.mark.parametrize("references", [2, 3, 5, 8, 22])
def test_95_of_100_intervals_hold_the_true_difference(references: int, few_draws: None) -> None:
    # Three standard errors of a share over 400 studies are 0.033.
    assert 0.917 <= _covered("normal", references, between=1.0) <= 0.983


@pytest.mark.parametrize(("kind", "least"), [("exponential", 0.875), ("lognormal", 0.86)])
@pytest.mark.parametrize("references", [3, 5, 8, 22])
def test_skewed_effects_are_covered_as_the_module_says(kind: str, least: float, references: int, few_draws: None) -> None:
    assert least <= _covered(kind, references, between=1.0)


def test_nothing_between_references_is_covered_more_than_enough(few_draws: None) -> None:
    assert _covered("normal", 3, between=0.0) >= 0.95
    assert _covered("normal", 12, between=0.0) >= 0.95


def test_trainings_and_videos_of_one_reference_are_covered_as_crossed_factors() -> None:
    """Effects of the training, of the video, and of both together; either factor alone would miss the other."""
    rng = np.random.default_rng(0)
    hits = {"both": 0, "trainings": 0, "videos": 0}
    for _ in range(STUDIES):
        values = rng.normal(size=(3, 1)) + rng.normal(size=(1, 6)) + 0.5 * rng.normal(size=(3, 6))
        factors = {"trainings": values.mean(1).tolist(), "videos": values.mean(0).tolist()}
        for name, used in {"both": list(factors.values()), **{name: [means] for name, means in factors.items()}}.items():
            found = interval([group_of(*used)])
            hits[name] += found.low <= 0 <= found.high
    assert hits["both"] / STUDIES >= 0.95 - 0.033
    assert hits["videos"] / STUDIES < 0.85, "what a single factor covers"


def test_factors_add_their_variances() -> None:
    group = group_of([0.0, 2.0], [0.0, 1.0, 2.0])
    assert (group.mean, group.variance) == (1.0, pytest.approx(2 / 2 + 1 / 3))
    assert group.freedom == pytest.approx((4 / 3) ** 2 / (1**2 / 1 + (1 / 3) ** 2 / 2))
    assert group_of([1.0], [0.0, 2.0]) == group_of([0.0, 2.0]) and isnan(group_of([1.0], [1.0]).variance)


def test_the_check_can_fail() -> None:
    """The interval that a naive analysis would take, over all videos as if they were independent, misses far more often."""
    rng = np.random.default_rng(0)
    hits = 0
    for _ in range(STUDIES):
        values = (rng.normal(size=(3, 1)) + rng.normal(size=(3, 6))).ravel()
        hits += abs(values.mean()) <= t.ppf(0.975, 17) * values.std(ddof=1) / sqrt(18)
    assert hits / STUDIES < 0.8


def test_one_group_is_judged_by_its_own_values() -> None:
    values = np.random.default_rng(0).normal(0.5, 1, 6)
    expected = ttest_1samp(values, 0)
    found = interval([group_of(values)])
    assert found.p == pytest.approx(expected.pvalue)
    assert (found.low, found.high) == pytest.approx(expected.confidence_interval(0.95))


def test_few_groups_are_judged_by_students_t_on_their_means() -> None:
    means = [0.1, 0.5, 0.9, 0.4]
    expected = ttest_1samp(means, 0)
    found = interval([Group(mean) for mean in means])
    assert (found.difference, found.p) == pytest.approx((np.mean(means), expected.pvalue))
    assert (found.low, found.high) == pytest.approx(expected.confidence_interval(0.95))


def test_many_groups_are_resampled_and_agree_with_students_t_on_normal_effects() -> None:
    means = np.random.default_rng(0).normal(0.2, 1, 200)
    found, expected = interval([Group(mean) for mean in means]), ttest_1samp(means, 0)
    assert (found.low, found.high) == pytest.approx(expected.confidence_interval(0.95), abs=0.01)
    assert found.p == pytest.approx(expected.pvalue, abs=0.01) and found != interval([Group(mean) for mean in means[:-1]])
    assert found == interval([Group(mean) for mean in means]), "seeded"


def test_an_interval_and_its_p_value_agree(few_draws: None) -> None:
    rng = np.random.default_rng(3)
    for count in (3, 12):
        for _ in range(50):
            found = interval([group_of(row) for row in rng.normal(rng.normal(0, 0.5), 1, (count, 4))])
            assert (found.p < 0.05) == (found.low > 0 or found.high < 0)


def test_lucky_agreement_of_references_does_not_narrow_the_interval_below_that_of_their_videos() -> None:
    groups = [Group(0.100, 0.04, 5), Group(0.101, 0.04, 5), Group(0.099, 0.04, 5)]
    found = interval(groups)
    assert found.high - 0.1 == pytest.approx(t.ppf(0.975, 15) * sqrt(0.12) / 3)
    assert found.p > 0.3 and interval([Group(group.mean) for group in groups]).p < 0.001


def test_welch_satterthwaite_freedom() -> None:
    found = interval([Group(0.0, 0.04, 5), Group(0.0, 0.01, 2)])
    assert found.spreads[-1].freedom == pytest.approx(0.05**2 / (0.04**2 / 5 + 0.01**2 / 2))


def test_without_any_spread_there_is_no_interval_but_a_sign_test() -> None:
    same = interval([Group(0.2), Group(0.2), Group(0.2)])
    assert isnan(same.low) and isnan(same.high) and same.p == 0.25 and same.spreads == ()
    assert interval([Group(0.0), Group(0.0)]).p == 1.0
    single = interval([Group(0.2)])
    assert (single.difference, isnan(single.p)) == (0.2, True)
    with pytest.raises(ValueError, match="at least one group"):
        interval([])


def test_a_bootstrap_of_mostly_equal_values_falls_back_to_students_t() -> None:
    means = [0.0] * 9 + [0.5]
    found = interval([Group(mean) for mean in means])
    assert np.isfinite([found.low, found.high]).all()


@pytest.mark.parametrize("references", [3, 6])
def test_the_smallest_difference_shown_is_found_in_80_of_100_studies(references: int) -> None:
    rng = np.random.default_rng(1)
    known = interval([Group(mean) for mean in rng.normal(0, 1, references)])
    effect = smallest_shown(known, 0.05) / known.spreads[0].error / sqrt(references)  # in units of the spread between references
    found = [interval([Group(mean) for mean in rng.normal(effect, 1, references)]).p < 0.05 for _ in range(1000)]
    assert np.mean(found) == pytest.approx(0.8, abs=0.045)
    assert smallest_shown(known, 0.005) > smallest_shown(known, 0.05)
    assert isnan(smallest_shown(interval([Group(0.1)]), 0.05))


def test_with_many_references_it_is_found_as_often_at_a_strict_level_too(few_draws: None) -> None:
    rng = np.random.default_rng(2)
    level = 0.05 / 5
    studies = [interval([Group(mean) for mean in rng.normal(0, 1, 10)]) for _ in range(200)]
    effect = float(np.mean([smallest_shown(study, level) for study in studies]))
    found = [interval([Group(mean) for mean in rng.normal(effect, 1, 10)]).p < level for _ in range(400)]
    assert np.mean(found) == pytest.approx(0.77, abs=0.08)


def test_holm_by_hand() -> None:
    # Sorted 0.01, 0.02, 0.03, 0.04 times 4, 3, 2, 1, never falling.
    assert holm([0.03, 0.01, 0.04, 0.02]) == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert holm([0.5, 0.9]) == [1.0, 1.0]
    found = holm([0.01, nan, 0.04])
    assert (found[0], found[2]) == pytest.approx((0.02, 0.04)) and isnan(found[1])
    assert holm([]) == [] and inf not in found


def test_holm_keeps_the_family_wise_error() -> None:
    rng = np.random.default_rng(0)
    wrong = [min(holm(rng.random(10))) < 0.05 for _ in range(2000)]
    assert np.mean(wrong) == pytest.approx(0.05, abs=0.015)
