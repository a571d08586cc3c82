"""The paired t-test covers as often as it says, Holm's correction and power by hand and by simulation."""

from __future__ import annotations

from math import inf, isnan, nan, sqrt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import t, ttest_1samp

from motion_ablation.study.analysis.inference import detectable, holm, paired_t

STUDIES = 400
numbers = st.floats(-1e3, 1e3, allow_nan=False)


@pytest.mark.parametrize("references", [2, 3, 5, 8, 22])
def test_95_of_100_intervals_hold_the_true_difference(references: int) -> None:
    rng = np.random.default_rng(references)
    found = [paired_t(rng.normal(0.3, 1, references)) for _ in range(STUDIES)]
    # Three standard errors of a share over 400 studies are 0.033.
    assert 0.917 <= np.mean([each.low <= 0.3 <= each.high for each in found]) <= 0.983


def test_the_check_can_fail() -> None:
    """The interval that a naive analysis would take, over all videos as if they were independent, misses far more often."""
    rng = np.random.default_rng(0)
    hits = 0
    for _ in range(STUDIES):
        values = (rng.normal(size=(3, 1)) + rng.normal(size=(3, 6))).ravel()
        hits += abs(values.mean()) <= t.ppf(0.975, 17) * values.std(ddof=1) / sqrt(18)
    assert hits / STUDIES < 0.8


@given(st.lists(numbers, min_size=2, max_size=30))
def test_it_is_students_t_at_every_number_of_references(values: list[float]) -> None:
    found = paired_t(values)
    assert found.difference == pytest.approx(np.mean(values), abs=1e-9) and found.references == len(values)
    if isnan(found.low):
        assert np.std(values) <= 1e-9 * max(1, abs(np.mean(values)))
        return
    expected = ttest_1samp(values, 0)
    assert found.p == pytest.approx(expected.pvalue, abs=1e-9)
    assert (found.low, found.high) == pytest.approx(expected.confidence_interval(0.95), rel=1e-6, abs=1e-9)
    assert (found.p < 0.05) == (found.low > 0 or found.high < 0) or abs(found.p - 0.05) < 1e-6


def test_without_any_spread_there_is_no_interval_but_a_sign_test() -> None:
    same = paired_t([0.2, 0.2, 0.2])
    assert isnan(same.low) and isnan(same.high) and same.p == 0.25
    assert paired_t([0.0, 0.0]).p == 1.0
    single = paired_t([0.2])
    assert (single.difference, isnan(single.p)) == (0.2, True)
    with pytest.raises(ValueError, match="at least one difference"):
        paired_t([])


@pytest.mark.parametrize("references", [6, 12])
def test_the_detectable_difference_is_found_in_80_of_100_studies(references: int) -> None:
    rng = np.random.default_rng(1)
    known = paired_t(rng.normal(0, 1, references))
    effect = detectable(known, 0.05)[0] / known.error / sqrt(references)  # in units of the spread between references
    found = [paired_t(rng.normal(effect, 1, references)).p < 0.05 for _ in range(1000)]
    assert np.mean(found) == pytest.approx(0.8, abs=0.045)
    assert detectable(known, 0.005)[0] > detectable(known, 0.05)[0]


def test_the_range_of_the_detectable_difference_holds_the_truth() -> None:
    rng = np.random.default_rng(2)
    truth = detectable(paired_t([-1.0, 1.0] * 4), 0.05)[0] / paired_t([-1.0, 1.0] * 4).error / sqrt(8)  # spread 1, 8 references
    told = [detectable(paired_t(rng.normal(0, 1, 8)), 0.05) for _ in range(STUDIES)]
    assert np.mean([low <= truth <= high for _, low, high in told]) == pytest.approx(0.95, abs=0.033)


def test_few_references_tell_no_detectable_difference() -> None:
    assert all(isnan(value) for value in detectable(paired_t([0.1, 0.2, 0.4, 0.3]), 0.05))
    assert all(isnan(value) for value in detectable(paired_t([0.1]), 0.05))
    assert all(isnan(value) for value in detectable(paired_t([0.1] * 6), 0.05))


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
