"""Every replacement against its baseline, on common noise: the difference, its interval, and what may be said in plain words.

* **Pairs.** Scores are subtracted on the same reference, training seed, prompt, generation seed and initial noise. An experiment
  that trains nothing (``no_motion``) is compared with every training of the other.
* **Levels.** Videos are averaged within a training, trainings within a reference, references with each other: an embedding is trained
  on one reference, so trainings are nested in references. The interval is made over references, whose means vary for all of these
  reasons; :mod:`motion_ablation.study.intervals` has the method and its measured coverage. With one reference it is made over its
  trainings and its videos, and the verdict says that it speaks of this reference only.
* **Factors.** Training seeds and generated videos (prompts and generation seeds) are crossed: every training generates the same videos.
  Within a reference their variances are estimated apart and added. Prompts and generation seeds are the same for every reference:
  what all references have in common because of them is not told from the effect.
* **Sets.** A metric of whole sets (``fid``) has one difference per training; how it would vary with other videos is found by resampling
  the videos (:mod:`motion_ablation.study.resampling`).
* **Families.** Holm's correction is within a card and an initial noise, over all replacements and metrics; the differences of
  ``no_motion``, which check that there is something to ablate at all, are a family of their own unless it is itself a replacement.
"""

from __future__ import annotations

from math import nan
from typing import Any

import pandas as pd

from motion_ablation.study.intervals import Group, Interval, group_of, holm, interval, smallest_shown
from motion_ablation.study.plan import Study
from motion_ablation.study.resampling import Resampler
from motion_ablation.study.scores import higher_is_better, noises_of, set_level, truths_of

COMPARISON = (
    "card", "noise", "metric", "baseline", "experiment", "difference", "low", "high", "p", "p_holm", "references", "cells", "detectable",
    "verdict", "scope",
)  # fmt: skip
LEVEL = 0.05
SAME = "same runs"
MISSING = "no result"
UNSURE = "no difference shown"
ONLY = " (on this reference only)"


def comparisons(study: Study, frame: pd.DataFrame, resampler: Resampler | None = None) -> pd.DataFrame:
    """One row per replacement (and the floor), metric and initial noise of each card.

    Args:
        frame: of :func:`motion_ablation.study.scores.scores_frame`. resampler: None makes one over the study's kept videos.

    Columns:
        card, noise, metric, baseline, experiment. difference: experiment minus baseline. low, high: its 95 % interval, for itself alone.
        p: two-sided. p_holm: corrected within the family. references, cells: how many it was taken over. detectable: the smallest
        true difference that would have been found with 80 % probability, at the strictest level of Holm's correction. verdict:
        ``better``, ``worse`` (``higher``, ``lower`` where neither is better), ``no difference shown``, ``same runs`` or ``no result``.
        scope: what varied: ``references``; of one ``trainings and videos`` or ``videos``; empty without an interval. What is not known is
        NaN.
        ``attrs["notes"]`` says what could not be resampled, and why.
    """
    resampler = Resampler(study) if resampler is None else resampler
    groups = dict(list(frame.groupby(["experiment", "noise", "metric"], sort=False)))
    rows = []
    for card in study.cards:
        for noise in noises_of(frame["noise"]):
            family = []
            for experiment in card.experiments:
                for metric in [*card.metrics, *truths_of(frame)] if experiment != card.baseline else []:
                    where = {"card": card.name, "noise": noise, "metric": metric, "baseline": card.baseline, "experiment": experiment}
                    family.append(_compare(study, groups, where, resampler))
            for replaced in (False, True):
                rows += _corrected([pair for pair in family if (pair[0]["experiment"] in card.replacements) == replaced])
    compared = pd.DataFrame(rows, columns=list(COMPARISON))
    compared.attrs["notes"] = resampler.notes
    return compared


def _compare(study: Study, groups: dict[Any, pd.DataFrame], where: dict[str, Any], resampler: Resampler) -> tuple[dict[str, Any], Interval]:
    """A row without its correction and verdict, and its interval."""
    experiment, baseline, noise, metric = (where[key] for key in ("experiment", "baseline", "noise", "metric"))
    empty = {"difference": nan, "low": nan, "high": nan, "p": nan, "references": 0, "cells": 0, "scope": "", "verdict": MISSING}
    none = Interval(nan, nan, nan, nan)
    if owner(study, experiment) == owner(study, baseline):
        return {**where, **empty, "difference": 0.0, "verdict": SAME}, none
    mine, theirs = groups.get((experiment, noise, metric)), groups.get((baseline, noise, metric))
    pairs = None if mine is None or theirs is None else paired(mine, theirs, trains(study, experiment), trains(study, baseline))
    if pairs is None or pairs.empty:
        return {**where, **empty}, none
    clusters = clusters_of(pairs)
    if set_level(metric):
        for reference, cluster in clusters.items():
            trainings = set(pairs.loc[pairs["reference"] == reference, "train_seed"])
            clusters[reference] = resampler.group(cluster, experiment, baseline, reference, trainings, noise, metric)
    found = interval(list(clusters.values()))
    scope = "references" if len(clusters) > 1 else "trainings and videos" if pairs["train_seed"].nunique() > 1 else "videos"
    numbers = {"difference": found.difference, "low": found.low, "high": found.high, "p": found.p, "scope": scope if found.spreads else ""}
    return {**where, **numbers, "references": len(clusters), "cells": len(pairs), "verdict": ""}, found


def owner(study: Study, experiment: str) -> str:
    """The experiment whose runs an experiment shows."""
    return study.same_as.get(experiment, experiment)


def trains(study: Study, experiment: str) -> bool:
    """Whether an experiment learns anything, so that its training seed matters."""
    return any(run.trains for run in study.runs if run.experiment == owner(study, experiment))


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


def _corrected(family: list[tuple[dict[str, Any], Interval]]) -> list[dict[str, Any]]:
    """The rows of a family with their corrected p-values, detectable effects and verdicts."""
    tests = sum(row["p"] == row["p"] for row, _ in family)
    rows = []
    for (row, found), p_holm in zip(family, holm([row["p"] for row, _ in family]), strict=True):
        verdict = row["verdict"] or verdict_of(row["difference"], p_holm, row["metric"]) + (ONLY if row["references"] == 1 else "")
        rows.append({**row, "p_holm": p_holm, "detectable": smallest_shown(found, LEVEL / max(1, tests)), "verdict": verdict})
    return rows


def verdict_of(difference: float, p_holm: float, metric: str) -> str:
    """What may be said of a difference."""
    if not p_holm < LEVEL:
        return UNSURE
    higher = higher_is_better(metric)
    if higher is None:
        return "higher" if difference > 0 else "lower"
    return "better" if (difference > 0) == higher else "worse"
