"""What may be said of a mean difference between few references: Student's t, Holm's correction, and the power of both.

Numbers in, numbers out. Everything that is drawn at random in a study (training noise, initial noise, by default also prompts) is drawn
for each reference anew, and is the same for all experiments. So the differences of references are independent draws of one
distribution, and the paired t-test on them is all that is needed: at any number of references, whatever else was random.
``benchmarks/validity.py`` measures how well this holds; ``docs/statistics.md`` has its table.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from math import isfinite, nan, sqrt

import numpy as np
from scipy.optimize import brentq
from scipy.stats import chi2, nct, t

CONFIDENCE = 0.95
POWER = 0.8
ENOUGH = 5
"""References from which on a detectable difference is told: with fewer, the spread is known too badly."""
ROUNDING = 1e-12


@dataclass(frozen=True)
class Interval:
    """A mean difference over references.

    Attributes:
        difference: the mean. low, high: its 95 % interval. p: two-sided, before any correction. error: standard error of the mean.
        references: how many it was taken over. What cannot be known, as the interval of one reference, is NaN.
    """

    difference: float
    low: float = nan
    high: float = nan
    p: float = nan
    error: float = nan
    references: int = 0


def paired_t(differences: Sequence[float]) -> Interval:
    """Student's t on one difference per reference.

    Where all differences are the same number there is no interval, and the p-value is that of the sign test: the probability that all
    of them fall on one side by chance.

    Raises:
        ValueError: without any difference.
    """
    values = np.asarray(differences, dtype=np.float64)
    count = len(values)
    if not count:
        raise ValueError("a paired t-test needs at least one difference")
    mean = float(values.mean())
    if count < 2:
        return Interval(mean, references=count)
    error = float(values.std(ddof=1)) / sqrt(count)
    if error <= ROUNDING * max(1.0, abs(mean)):
        return Interval(mean, p=1.0 if abs(mean) <= ROUNDING else 2.0 ** (1 - count), references=count)
    half = float(t.ppf((1 + CONFIDENCE) / 2, count - 1)) * error
    return Interval(mean, mean - half, mean + half, float(2 * t.sf(abs(mean) / error, count - 1)), error, count)


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's (1979) adjusted p-values, in the order given; NaN stays NaN and counts as no test. SciPy has none.

    Sign flips with the greatest t of a family (Westfall and Young 1993) were simulated beside it, for families of six tests correlated by
    0.5: no more power at 7 to 22 references (0.55 and 0.57 at 7, 0.88 and 0.88 at 10), less at 6, and none are possible below 6.
    """
    values = np.asarray(p_values, dtype=np.float64)
    tested = np.flatnonzero(~np.isnan(values))
    order = tested[np.argsort(values[tested], kind="stable")]
    adjusted = values.copy()
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(values[order] * np.arange(len(order), 0, -1)))
    return [float(value) for value in adjusted]


def detectable(found: Interval, level: float) -> tuple[float, float, float]:
    """The true difference that a test at this ``level`` (such as 0.05) would find with 80 % probability, and its 95 % range.

    From the noncentral t distribution with the spread that was found. The range is that of the spread's own chi-square interval. NaN
    below :data:`ENOUGH` references, or without a spread.
    """
    freedom = found.references - 1
    if found.references < ENOUGH or not isfinite(found.error):
        return nan, nan, nan
    size = found.error * _noncentrality(freedom, float(t.ppf(1 - level / 2, freedom)))
    low, high = (sqrt(freedom / float(chi2.ppf(share, freedom))) for share in ((1 + CONFIDENCE) / 2, (1 - CONFIDENCE) / 2))
    return size, size * low, size * high


@cache
def _noncentrality(freedom: float, critical: float) -> float:
    """How far from zero, in standard errors, the truth must be for a t-test with this critical value to have :data:`POWER`."""
    return float(brentq(lambda shift: nct.sf(critical, freedom, shift) - POWER, 0.0, 4 * critical + 5))
