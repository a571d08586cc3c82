"""Every replacement against its baseline, on common noise: the difference, its interval, and what may be said in plain words.

* **Pairs.** Scores are subtracted on the same reference, training seed, prompt, generation seed and initial noise. An experiment
  that trains nothing (``no_motion``) is compared with every training of the other. At an initial noise that the baseline does not have,
  a replacement meets the baseline's first one (``against``): that is how noises themselves are compared.
* **Levels.** Differences are averaged within a training, trainings within a reference. References are the only clusters: the paired t-test
  is made on their means (``analysis.inference``). Of one reference nothing is said beyond its number.
* **Verdicts** are for the card's primary metrics on random initial noise, where nothing but the embedding can carry motion (a replacement
  that has no random noise: on its first). All other differences are exploratory: shown with their interval, without a word.
* **Families.** Holm's correction is within a card, over its replacements and primary metrics; the differences of ``no_motion``, which
  check that there is something to ablate at all, are a family of their own unless it is itself a replacement. Experiments that share
  their runs are one test, and so count once.
"""

from __future__ import annotations

from math import isfinite, nan
from statistics import fmean
from typing import Any

import pandas as pd

from motion_ablation.study.analysis.inference import Interval, detectable, holm, paired_t
from motion_ablation.study.plan.cards import Card
from motion_ablation.study.plan.study import Study
from motion_ablation.study.results import higher_is_better, noises_of, truths_of

COMPARISON = (
    "card", "noise", "against", "metric", "baseline", "experiment", "difference", "low", "high", "p", "p_holm", "references", "cells",
    "detectable", "detectable_low", "detectable_high", "primary", "verdict",
)  # fmt: skip
SIGNIFICANCE = 0.05
VERDICT_NOISE = "random"
SAME = "same runs"
MISSING = "no result"
UNSURE = "no difference shown"
EXPLORATORY = "exploratory"
ONE = "one reference"
PARTIAL = " (on {} of {} references)"


def comparisons(study: Study, frame: pd.DataFrame) -> pd.DataFrame:
    """One row per replacement (and the plain backbone), metric and initial noise of each card.

    Args:
        frame: of :class:`motion_ablation.study.results.Results`.

    Columns:
        card, noise, metric, baseline, experiment. against: the baseline's initial noise. difference: experiment minus baseline.
        low, high: its 95 % interval, for itself alone. p: two-sided. p_holm: corrected within the family; NaN of what is exploratory.
        references, cells: how many it was taken over. detectable: the true difference that would have been found with 80 % probability at
        the strictest level of Holm's correction; detectable_low, detectable_high: its 95 % range. primary: whether it is judged.
        verdict: ``better``, ``worse`` (``higher``, ``lower`` where neither is better) or ``no difference shown`` where it is;
        ``exploratory``, ``one reference``, ``same runs`` or ``no result`` where not. What is not known is NaN.
    """
    groups = dict(list(frame.groupby(["experiment", "noise", "metric"], sort=False)))
    noises = noises_of(frame["noise"])
    have = {name: [noise for noise in noises if noise in set(own["noise"])] for name, own in frame.groupby("experiment", sort=False)}
    rows = []
    for card in study.cards:
        theirs = have.get(card.baseline, noises[:1])
        family = []
        for noise in noises:
            for experiment in card.experiments:
                if experiment == card.baseline or (experiment in have and noise not in have[experiment]):
                    continue  # an experiment without this noise has nothing to compare there
                if noise not in theirs and experiment not in card.replacements:
                    continue  # the plain backbone is compared on the same noise only
                against = noise if noise in theirs else theirs[0]
                judged = noise == _judged_noise(have.get(experiment, noises))
                for metric in dict.fromkeys([*card.metrics, *truths_of(frame)]):
                    where: dict[str, Any] = {
                        "card": card.name,
                        "noise": noise,
                        "against": against,
                        "metric": metric,
                        "baseline": card.baseline,
                    }
                    where |= {"experiment": experiment, "primary": judged and metric in card.primary}
                    family.append(_compare(study, groups, where))
        for replaced in (False, True):
            rows += _corrected(study, [pair for pair in family if (pair[0]["experiment"] in card.replacements) == replaced])
    return pd.DataFrame(sorted(rows, key=lambda row: noises.index(row["noise"])), columns=list(COMPARISON))


def _judged_noise(noises: list[str]) -> str | None:
    """The initial noise on which an experiment gets its verdicts, of those that it has."""
    return VERDICT_NOISE if VERDICT_NOISE in noises else noises[0] if noises else None


def judged(card: Card, compared: pd.DataFrame) -> pd.DataFrame:
    """The rows of a card that have a verdict."""
    return compared[(compared["card"] == card.name) & compared["primary"] & ~compared["verdict"].isin((SAME, MISSING, ONE))]


def _compare(study: Study, groups: dict[Any, pd.DataFrame], where: dict[str, Any]) -> tuple[dict[str, Any], Interval]:
    """A row without its correction and verdict, and its interval."""
    experiment, baseline, noise, against, metric = (where[key] for key in ("experiment", "baseline", "noise", "against", "metric"))
    empty = {"difference": nan, "low": nan, "high": nan, "p": nan, "references": 0, "cells": 0, "verdict": MISSING, "of": 0}
    if study.owner(experiment) == study.owner(baseline) and noise == against:
        return {**where, **empty, "difference": 0.0, "verdict": SAME}, Interval(0.0)
    mine, theirs = groups.get((experiment, noise, metric)), groups.get((baseline, against, metric))
    pairs = None if mine is None or theirs is None else paired(mine, theirs, trains(study, experiment), trains(study, baseline))
    if not pairs or theirs is None:
        return {**where, **empty}, Interval(nan)
    found = paired_t(list(reference_differences(pairs).values()))
    numbers = {"difference": found.difference, "low": found.low, "high": found.high, "p": found.p, "references": found.references}
    return {**where, **numbers, "cells": len(pairs), "verdict": "", "of": _known(theirs)}, found


def _known(frame: pd.DataFrame) -> int:
    """How many references have a score."""
    return int(frame.loc[frame["score"].notna(), "reference"].nunique())


def trains(study: Study, experiment: str) -> bool:
    """Whether an experiment learns anything, so that its training seed matters."""
    return any(run.trains for run in study.runs_of(experiment))


Pair = tuple[str, int, float]
"""The reference and the training seed of a pair of scores, and their difference."""


def paired(mine: pd.DataFrame, theirs: pd.DataFrame, mine_trains: bool = True, theirs_train: bool = True) -> list[Pair]:
    """Differences of the scores on the cells that both have.

    Args:
        mine, theirs: scores of one experiment, noise and metric each. mine_trains, theirs_train: of what trains nothing, the mean over its
            training seeds (all the same) meets every training of the other.
    """
    own, other = _cells(mine, mine_trains), _cells(theirs, theirs_train)
    if mine_trains == theirs_train:
        both = [(cell, own[cell], other[cell]) for cell in own if cell in other]
    elif mine_trains:
        both = [(cell, score, other[*cell[:3], 0]) for cell, score in own.items() if (*cell[:3], 0) in other]
    else:
        both = [(cell, own[*cell[:3], 0], score) for cell, score in other.items() if (*cell[:3], 0) in own]
    return [(reference, training, one - two) for (reference, _, _, training), one, two in both]


def _cells(frame: pd.DataFrame, trains: bool) -> dict[tuple[str, str, int, int], float]:
    """Mean score by reference, prompt, seed (-1 of a set) and training seed (0 of what trains nothing)."""
    found: dict[tuple[str, str, int, int], list[float]] = {}
    columns = (frame["reference"], frame["prompt"], frame["seed"].fillna(-1), frame["train_seed"], frame["score"])
    for reference, prompt, seed, training, score in zip(*(column.tolist() for column in columns), strict=True):
        if isfinite(score):
            found.setdefault((reference, prompt, seed, training if trains else 0), []).append(score)
    return {cell: fmean(scores) for cell, scores in found.items()}


def reference_differences(pairs: list[Pair]) -> dict[str, float]:
    """Each reference's difference: the mean over its trainings of their mean over videos."""
    trainings: dict[str, dict[int, list[float]]] = {}
    for reference, training, difference in pairs:
        trainings.setdefault(reference, {}).setdefault(training, []).append(difference)
    return {reference: fmean(map(fmean, own.values())) for reference, own in trainings.items()}


def _corrected(study: Study, family: list[tuple[dict[str, Any], Interval]]) -> list[dict[str, Any]]:
    """The rows of a family with their corrected p-values, detectable differences and verdicts."""
    # What shares its runs is one test.
    key = lambda row: (study.owner(row["experiment"]), row["noise"], row["metric"])  # noqa: E731
    tested = {key(row): row["p"] for row, _ in family if row["primary"]}
    corrected = dict(zip(tested, holm(list(tested.values())), strict=True))
    level = SIGNIFICANCE / max(1, sum(p == p for p in tested.values()))
    rows = []
    for row, found in family:
        p_holm = corrected[key(row)] if row["primary"] else nan
        sizes = detectable(found, level) if row["primary"] else (nan, nan, nan)
        told = dict(zip(("detectable", "detectable_low", "detectable_high"), sizes, strict=True))
        rows.append({**row, **told, "p_holm": p_holm, "verdict": row["verdict"] or _verdict(row, p_holm)})
    return rows


def _verdict(row: dict[str, Any], p_holm: float) -> str:
    if not row["primary"]:
        return EXPLORATORY
    if row["references"] < 2:
        return ONE
    partial = PARTIAL.format(row["references"], row["of"]) if row["references"] < row["of"] else ""
    return verdict_of(row["difference"], p_holm, row["metric"]) + partial


def verdict_of(difference: float, p_holm: float, metric: str) -> str:
    """What may be said of a difference between two or more references."""
    if not p_holm < SIGNIFICANCE:
        return UNSURE
    higher = higher_is_better(metric)
    if higher is None:
        return "higher" if difference > 0 else "lower"
    return "better" if (difference > 0) == higher else "worse"
