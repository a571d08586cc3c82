"""The report of a study as plain data: what ``table.md``, ``table.tex`` and ``report.html`` all print, each in its own layout.

``build.py`` makes it from the results; ``templates/`` prints it; figures and videos are drawn from it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import nan
from pathlib import Path
from statistics import fmean

from motion_ablation.study.report.comparison import Comparison, Finding
from motion_ablation.study.report.configs import Configuration
from motion_ablation.study.report.curves import Curve
from motion_ablation.study.report.formats import number

REFERENCE = "reference"  # the column of a film that shows the reference


@dataclass(frozen=True)
class Estimate:
    """A mean score.

    Attributes:
        error: its standard error; None where there is but one value. count, references: of how many scores and references it is the mean.
        best: whether it is the best of its column and shown to be better than the baseline's.
    """

    mean: float
    error: float | None
    count: int
    references: int = 1
    best: bool = False

    def __str__(self) -> str:
        return number(self.mean) + (f" ± {number(self.error)}" if self.error is not None else "")


@dataclass(frozen=True)
class ScoreRow:
    """The scores of an experiment or of a control.

    Attributes:
        kind: ``baseline``, ``replacement`` or ``control``; ``experiment`` where several cards share a table. label: the name as tables show
            it. values: one per column; None without a score. videos: how many were scored.
    """

    name: str
    kind: str
    label: str
    values: list[Estimate | None]
    videos: int


@dataclass(frozen=True)
class ScoreTable:
    """Mean scores of experiments (rows) in metrics (columns), under one initial noise."""

    metrics: list[str]
    rows: list[ScoreRow]

    @property
    def one_reference(self) -> bool:
        """Whether no mean is over several references."""
        return all(value.references == 1 for row in self.rows for value in row.values if value is not None)


@dataclass(frozen=True)
class StrataTable:
    """Mean scores of experiments (rows) in the parts of a benchmark set (columns), in one metric under one initial noise.

    Attributes:
        rows: an experiment's label with its values, one per part; None without a score.
    """

    metric: str
    strata: list[str]
    rows: list[tuple[str, list[Estimate | None]]]


@dataclass(frozen=True)
class CardSection:
    """What one card found under one initial noise.

    Attributes:
        stem: the card's file name without its ending. baseline: its name, with its initial noise where that is another. scores: of the
            card's own experiments and metrics, as a paper shows them.
    """

    name: str
    stem: str
    question: str
    baseline: str
    findings: list[Finding]
    scores: ScoreTable

    @property
    def comparisons(self) -> list[Comparison]:
        """Those of all findings."""
        return [row for finding in self.findings for row in finding.comparisons]

    @property
    def judged(self) -> list[str]:
        """The metrics that have verdicts here; all others are exploratory."""
        return list(dict.fromkeys(row.metric for row in self.comparisons if row.primary))


@dataclass(frozen=True)
class NoiseSection:
    """All results under one initial noise; ``truths`` are the scores against the built-in references' truth, if any were taken, ``strata``
    those in each part of a benchmark set, if it has parts."""

    noise: str
    meaning: str
    scores: ScoreTable
    truths: ScoreTable | None
    cards: list[CardSection]
    strata: list[StrataTable] = field(default_factory=list)


@dataclass(frozen=True)
class Experiment:
    """What became of an experiment's runs, and what they took.

    Attributes:
        same_as: the experiment whose runs it shows, or empty. unit: what a run stands for, ``references`` or ``runs``. planned, done:
            how many runs. trainable, steps: parameters and optimiser steps, several where runs differ. videos: generated in all.
            seconds: of each finished run.
    """

    name: str
    same_as: str
    unit: str
    planned: int
    done: int
    trainable: list[int]
    steps: list[int]
    videos: int
    seconds: list[float]

    @property
    def mean_seconds(self) -> float:
        """Seconds of a finished run; NaN where there is none."""
        return fmean(self.seconds) if self.seconds else nan

    @property
    def title(self) -> str:
        """Its name, and whose runs it shows."""
        return self.name + (f" (= {self.same_as})" if self.same_as else "")

    @property
    def label(self) -> str:
        """Its title, and how many of its runs are done if not all are."""
        return self.title + ("" if self.done == self.planned else f" ({self.done} of {self.planned} {self.unit})")


@dataclass(frozen=True)
class LostRun:
    """A run without a result: it ``failed``, or has not been made."""

    name: str
    failed: bool
    reason: str


@dataclass(frozen=True)
class Film:
    """The videos of one prompt, seed and initial noise side by side.

    Attributes:
        columns: :data:`REFERENCE` and the experiments, from left to right. videos: where the frames of those that have some are kept.
    """

    reference: str
    prompt: str
    seed: int
    noise: str
    columns: list[str]
    videos: dict[str, Path]


@dataclass(frozen=True)
class Report:
    """All that is told of a study.

    Attributes:
        baseline: the first card's. facts: what was run, by term. planned: how many runs. experiments: by name, in the table's order.
            remarks: how to read this study's numbers. generalises: what its verdicts speak of, in one line. films: in the order in which to
            show them if not all can be shown.
            curves: training losses by reference, each with its experiment.
        versions, protocols: of packages and metrics, each with what it was.
    """

    title: str
    baseline: str
    references: list[str]
    facts: dict[str, str]
    experiments: dict[str, Experiment]
    planned: int
    lost: list[LostRun]
    sections: list[NoiseSection]
    remarks: list[str]
    generalises: str
    films: list[Film]
    curves: dict[str, list[tuple[str, Curve]]]
    configurations: list[Configuration]
    versions: list[tuple[str, str]]
    protocols: list[tuple[str, str]]

    @property
    def shown(self) -> list[tuple[NoiseSection, CardSection, Comparison]]:
        """Every difference that is shown, and where."""
        cards = [(section, card) for section in self.sections for card in section.cards]
        return [(section, card, row) for section, card in cards for finding in card.findings for row in finding.shown]
