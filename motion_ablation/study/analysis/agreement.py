"""Whether the metric of motion agrees with the truth on a study's own videos."""

from __future__ import annotations

from math import isnan

from motion_ablation.evaluation.calibration.measure import interval, spearman
from motion_ablation.study.results import Results

JUDGED, TRUTHS = "motion_fidelity", ("trajectory_error", "direction")


def agreement(results: Results) -> list[str]:
    """How far the metric of motion agrees with the true path of the object, on the videos of this study; of the built-in world only.

    For each truth metric Spearman's rank correlation over a reference's videos, all experiments together, and over references its mean
    and 95 % t interval.
    """
    own = results.frame[(results.frame["same_as"] == "") & results.frame["seed"].notna()]
    wide = own.pivot_table("score", ["experiment", "reference", "train_seed", "prompt", "seed", "noise"], "metric", dropna=False)
    if not {JUDGED, *TRUTHS} <= set(wide.columns):
        return []
    known = wide[wide[TRUTHS[0]].notna()]
    judged = known[known[JUDGED].notna()]
    told = []
    for truth in TRUTHS:
        found = [spearman(videos[truth].tolist(), videos[JUDGED].tolist()) for _, videos in judged.groupby("reference")]
        mean, low, high = interval(found)
        if isnan(mean):
            return []
        told.append(f"{mean:+.2f} [{max(low, -1):+.2f}, {min(high, 1):+.2f}] with {truth.replace('_', ' ')}")
    return [
        f"On these videos {JUDGED.replace('_', ' ')} has rank correlation {' and '.join(told)} (mean over references, 95 %); "
        f"it judged {len(judged)} of {len(known)} videos, and lost the object in the others."
    ]
