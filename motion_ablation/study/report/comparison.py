"""An experiment against its baseline, and the words of every verdict, so that they are the same wherever they stand."""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite

from motion_ablation.study.analysis.statistics import EXPLORATORY, MISSING, ONE, SAME, SIGNIFICANCE, UNSURE
from motion_ablation.study.report.formats import coarse, number, signed

MARK = "°"
TONES = {"better": "better", "worse": "worse", "higher": "different", "lower": "different"}


@dataclass(frozen=True)
class Comparison:
    """An experiment against its baseline in one metric; what is not known is NaN.

    Attributes:
        difference: experiment minus baseline, with its 95 % interval from low to high. p, p_holm: before and after Holm's correction.
        detectable: the true difference that would have been found with 80 % probability, from detectable_low to detectable_high. possible:
            the greatest that the metric can show. primary: whether it is judged; if not, it is exploratory.
        references, cells: how many it was taken over. verdict: see :func:`motion_ablation.study.analysis.statistics.comparisons`.
    """

    experiment: str
    metric: str
    difference: float
    low: float
    high: float
    p: float
    p_holm: float
    detectable: float
    detectable_low: float
    detectable_high: float
    possible: float
    primary: bool
    references: int
    cells: int
    verdict: str

    @property
    def tone(self) -> str:
        """``better``, ``worse`` or ``different`` (where neither is better) for what is shown, ``unclear`` for any other verdict."""
        return next((tone for word, tone in TONES.items() if self.verdict.startswith(word)), "unclear")

    @property
    def bounded(self) -> bool:
        """Whether it has an interval."""
        return isfinite(self.low) and isfinite(self.high)

    @property
    def drawn(self) -> bool:
        """Whether there is anything to draw."""
        return isfinite(self.difference) and self.verdict not in (SAME, MISSING)

    @property
    def words(self) -> str:
        """What may be said of it: of what is shown the verdict, of what is not the smallest difference that would have been."""
        name = self.metric.replace("_", " ")
        if self.tone != "unclear":
            return f"{name} {self.verdict} by {number(abs(self.difference))}"
        return f"{name}{self.verdict.removeprefix(UNSURE)} ({self.sensitivity})"

    @property
    def sensitivity(self) -> str:
        """Which difference would have been found, roughly, with its range."""
        if not isfinite(self.detectable):
            return "too few references to tell what would have been found"
        if self.detectable >= self.possible:
            return "none could have been found"
        return f"{coarse(self.detectable)}, or {coarse(self.detectable_low)} to {coarse(self.detectable_high)}"

    def __str__(self) -> str:
        """The difference, its interval and what is shown, as short as a table's cell."""
        if self.verdict == SAME:
            return SAME
        if not isfinite(self.difference):
            return "-"
        interval = f" [{signed(self.low)}, {signed(self.high)}]" if self.bounded else ""
        if self.verdict in (EXPLORATORY, ONE):
            return signed(self.difference) + interval
        if not self.verdict.startswith(UNSURE):
            return f"{signed(self.difference)}{interval} {self.verdict}"
        mark = f" {MARK}" if self.bounded and self.p < SIGNIFICANCE else ""
        return signed(self.difference) + interval + mark + self.verdict.removeprefix(UNSURE)


@dataclass(frozen=True)
class Finding:
    """An experiment against its baseline, in every metric."""

    experiment: str
    comparisons: list[Comparison]

    @property
    def same(self) -> bool:
        """Whether it shows the baseline's own runs."""
        return all(row.verdict == SAME for row in self.comparisons)

    @property
    def known(self) -> bool:
        """Whether there is a result in any metric."""
        return any(row.verdict != MISSING for row in self.comparisons)

    @property
    def shown(self) -> list[Comparison]:
        """The differences that are shown."""
        return [row for row in self.comparisons if row.tone != "unclear"]

    @property
    def unsure(self) -> str:
        """In what no difference is shown, as a clause; empty if there is nothing such."""
        words = [row.words for row in self.comparisons if row.verdict.startswith(UNSURE)]
        return f"{UNSURE} in {', '.join(words)}" if words else ""

    @property
    def missing(self) -> str:
        """For what there is no result, as a clause; empty if there is nothing such."""
        names = [row.metric.replace("_", " ") for row in self.comparisons if row.verdict == MISSING]
        return f"{MISSING} for {', '.join(names)}" if names else ""
