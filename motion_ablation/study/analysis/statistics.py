"""Every replacement against its baseline, on common noise: the difference, its interval, and what may be said in plain words.

* **Pairs.** Scores are subtracted on the same reference, training seed, prompt, generation seed and initial noise. An experiment
  that trains nothing (``no_motion``) is compared with every training of the other. At an initial noise that the baseline does not have,
  a replacement meets the baseline's first one (``against``): that is how noises themselves are compared.
* **Levels.** Videos are averaged within a training, trainings within a reference, references with each other. The interval is made over
  references; ``analysis.intervals`` has the method and its measured coverage. With one reference it is made over its
  trainings and its videos, and the verdict says that it speaks of this reference only.
* **Factors.** Training seeds and generated videos (a prompt with a seed, which set its noise) are crossed with each other and with the
  references: every training generates the same videos, and every reference has the same training seeds, prompts and noises. Within a
  reference their variances are estimated apart and added; what they do to all references together is a spread of its own.
* **Prompts** are those of the study: nothing is said of others, as their effects are not told from those of seeds.
* **Sets.** A metric of whole sets (``fid``) has one difference per training; how it would vary with other videos is found by resampling
  the videos (:mod:`motion_ablation.study.analysis.resampling`).
* **Families.** Holm's correction is within a card, over all replacements, metrics and initial noises; the differences of
  ``no_motion``, which check that there is something to ablate at all, are a family of their own unless it is itself a replacement.
  Experiments that share their runs are one test, and so count once.
"""

from __future__ import annotations

from math import nan
from typing import Any

import pandas as pd

from motion_ablation.study.analysis.intervals import Group, Interval, group_of, holm, interval, smallest_shown
from motion_ablation.study.analysis.resampling import Resampler
from motion_ablation.study.plan.study import Study
from motion_ablation.study.results import Results, higher_is_better, noises_of, set_level, truths_of

COMPARISON = (
    "card", "noise", "against", "metric", "baseline", "experiment", "difference", "low", "high", "p", "p_holm", "references", "cells",
    "detectable", "verdict", "scope",
)  # fmt: skip
SIGNIFICANCE = 0.05
SAME = "same runs"
MISSING = "no result"
UNSURE = "no difference shown"
ONLY = " (on this reference only)"
PARTIAL = " (on {} of {} references)"


def comparisons(study: Study, frame: pd.DataFrame, resampler: Resampler | None = None) -> pd.DataFrame:
    """One row per replacement (and the plain backbone), metric and initial noise of each card.

    Args:
        frame: of :class:`motion_ablation.study.results.Results`. resampler: None makes one over the study's videos.

    Columns:
        card, noise, metric, baseline, experiment. against: the baseline's initial noise. difference: experiment minus baseline.
        low, high: its 95 % interval, for itself alone. p: two-sided. p_holm: corrected within the family. references, cells: how many it
        was taken over. detectable: the smallest true difference that would have been found with 80 % probability, at the strictest level
        of Holm's correction. verdict:
        ``better``, ``worse`` (``higher``, ``lower`` where neither is better), ``no difference shown``, ``same runs`` or ``no result``.
        scope: what varied: ``references``; of one ``trainings and videos`` or ``videos``; empty without an interval. What is not known is
        NaN.
        ``attrs["notes"]`` says what could not be resampled, and why.
    """
    resampler = Resampler(Results(study)) if resampler is None else resampler
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
                for metric in dict.fromkeys([*card.metrics, *truths_of(frame)]):
                    where = {"card": card.name, "noise": noise, "against": against, "metric": metric}
                    where |= {"baseline": card.baseline, "experiment": experiment}
                    family.append(_compare(study, groups, where, resampler))
        for replaced in (False, True):
            rows += _corrected(study, [pair for pair in family if (pair[0]["experiment"] in card.replacements) == replaced])
    compared = pd.DataFrame(sorted(rows, key=lambda row: noises.index(row["noise"])), columns=list(COMPARISON))
    compared.attrs["notes"] = resampler.notes
    return compared


def _compare(study: Study, groups: dict[Any, pd.DataFrame], where: dict[str, Any], resampler: Resampler) -> tuple[dict[str, Any], Interval]:
    """A row without its correction and verdict, and its interval."""
    experiment, baseline, noise, against, metric = (where[key] for key in ("experiment", "baseline", "noise", "against", "metric"))
    empty = {"difference": nan, "low": nan, "high": nan, "p": nan, "references": 0, "cells": 0, "scope": "", "verdict": MISSING, "of": 0}
    none = Interval(nan, nan, nan, nan)
    if study.owner(experiment) == study.owner(baseline) and noise == against:
        return {**where, **empty, "difference": 0.0, "verdict": SAME}, none
    mine, theirs = groups.get((experiment, noise, metric)), groups.get((baseline, against, metric))
    pairs = None if mine is None or theirs is None else paired(mine, theirs, trains(study, experiment), trains(study, baseline))
    if pairs is None or pairs.empty:
        return {**where, **empty}, none
    clusters, common = clusters_of(pairs), common_of(pairs)
    if set_level(metric):
        for reference, cluster in clusters.items():
            trainings = set(pairs.loc[pairs["reference"] == reference, "train_seed"])
            clusters[reference] = resampler.group(cluster, (experiment, noise), (baseline, against), reference, trainings, metric)
    found = interval(list(clusters.values()), common)
    scope = "references" if len(clusters) > 1 else "trainings and videos" if pairs["train_seed"].nunique() > 1 else "videos"
    numbers = {"difference": found.difference, "low": found.low, "high": found.high, "p": found.p, "scope": scope if found.spreads else ""}
    return {**where, **numbers, "references": len(clusters), "cells": len(pairs), "verdict": "", "of": _known(theirs)}, found


def _known(frame: pd.DataFrame) -> int:
    """How many references have a score."""
    return int(frame.loc[frame["score"].notna(), "reference"].nunique())


def trains(study: Study, experiment: str) -> bool:
    """Whether an experiment learns anything, so that its training seed matters."""
    return any(run.trains for run in study.runs_of(experiment))


def paired(mine: pd.DataFrame, theirs: pd.DataFrame, mine_trains: bool = True, theirs_train: bool = True) -> pd.DataFrame:
    """Differences of the scores on the cells that both have: reference, train_seed, prompt, seed, difference.

    Args:
        mine, theirs: scores of one experiment, noise and metric each. mine_trains, theirs_train: of what trains nothing, the mean over its
            training seeds (all the same) meets every training of the other.
    """
    video = ["reference", "prompt", "seed"]
    sides = []
    for side, learns in ((mine, mine_trains), (theirs, theirs_train)):
        side = side.assign(seed=side["seed"].fillna(-1).astype("int64"))  # sets have no seed
        keys = [*video, "train_seed"] if learns else video
        sides.append(side.groupby(keys, sort=False, as_index=False)["score"].mean())
    merged = sides[0].merge(sides[1], on=[*video, *(["train_seed"] if mine_trains and theirs_train else [])])
    if "train_seed" not in merged:
        merged["train_seed"] = 0
    merged["difference"] = merged["score_x"] - merged["score_y"]
    return merged.dropna(subset="difference")[["reference", "train_seed", "prompt", "seed", "difference"]]


def clusters_of(pairs: pd.DataFrame) -> dict[str, Group]:
    """Each reference's mean difference, with the variance that its trainings and its videos, which are two crossed factors, give it."""
    levels: dict[str, list[list[float]]] = {str(reference): [[], []] for reference in pairs["reference"].unique()}
    for factor, keys in enumerate((["reference", "train_seed"], ["reference", "prompt", "seed"])):
        for (reference, *_), mean in pairs.groupby(keys, sort=False)["difference"].mean().items():
            levels[reference][factor].append(mean)
    return {reference: group_of(*factors) for reference, factors in levels.items()}


def common_of(pairs: pd.DataFrame) -> Group | None:
    """The variance of the mean difference because of what a training seed, and a prompt with a seed, do to all references alike: from the
    levels' means over the references, each reference's own mean taken off. None for one reference."""
    own = pairs.groupby("reference")["difference"].transform("mean")
    if pairs["reference"].nunique() < 2:
        return None
    off = pairs.assign(difference=pairs["difference"] - own)
    trainings, videos = (off.groupby(keys, sort=False)["difference"].mean().tolist() for keys in (["train_seed"], ["prompt", "seed"]))
    return group_of(trainings, videos)


def _corrected(study: Study, family: list[tuple[dict[str, Any], Interval]]) -> list[dict[str, Any]]:
    """The rows of a family with their corrected p-values, detectable effects and verdicts."""
    # What shares its runs is one test.
    tested = {(study.owner(row["experiment"]), row["noise"], row["metric"]): row["p"] for row, _ in family}
    corrected = dict(zip(tested, holm(list(tested.values())), strict=True))
    tests = sum(p == p for p in tested.values())
    rows = []
    for row, found in family:
        p_holm = corrected[study.owner(row["experiment"]), row["noise"], row["metric"]]
        verdict = row["verdict"] or verdict_of(row["difference"], p_holm, row["metric"]) + _scope(row["references"], row["of"])
        rows.append({**row, "p_holm": p_holm, "detectable": smallest_shown(found, SIGNIFICANCE / max(1, tests)), "verdict": verdict})
    return rows


def _scope(references: int, of: int) -> str:
    """What a verdict must say of where it holds."""
    return PARTIAL.format(references, of) if references < of else ONLY if references == 1 else ""


def verdict_of(difference: float, p_holm: float, metric: str) -> str:
    """What may be said of a difference."""
    if not p_holm < SIGNIFICANCE:
        return UNSURE
    higher = higher_is_better(metric)
    if higher is None:
        return "higher" if difference > 0 else "lower"
    return "better" if (difference > 0) == higher else "worse"
