"""From scores to Markdown; only reads what the runs wrote and what is measured on their kept videos."""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite
from statistics import fmean, stdev
from typing import Any

import pandas as pd

from motion_ablation.metrics import METRICS
from motion_ablation.study.analysis.controls import ITSELF, SHUFFLED, controls
from motion_ablation.study.analysis.statistics import LEVEL, MISSING, ONLY, SAME, UNSURE, comparisons
from motion_ablation.study.markdown import grid
from motion_ablation.study.plan.cards import Card
from motion_ablation.study.plan.study import Study
from motion_ablation.study.report.presentation import RAW, Shown, shown
from motion_ablation.study.results import (
    NOISES,
    done_runs,
    higher_is_better,
    noises_of,
    reference_means,
    scores_frame,
    truths_of,
)

MARK = "°"
NOTES = f"""\
**Scores.** `±` is the standard error of the mean. Scores are averaged within each training, then within each reference; with several
references the error is that of the mean over references (their standard deviation over the root of their number), because trainings,
prompts and seeds of one reference are not independent. With one reference it is that over its trainings or, with one training, over its
videos, which says nothing about other references. `fid` and `kid` are one distance per reference, between all its generated and its own
frames, averaged over references; with few frames `fid` is biased upwards, for all rows alike. ↑ higher is better, ↓ lower is better.

**Controls.** `{ITSELF}`: the reference's own frames, scored as if generated: the ceiling. `{SHUFFLED}`: the baseline's videos,
scored against other references: the floor of what compares with the reference; the other metrics are not changed by it. `no_motion`: the
backbone alone.

**Differences** are from the baseline on the same reference, training seed, prompt, seed and noise (where the baseline does not have that
initial noise: from its own, as the heading says), in brackets their 95 % intervals: over references, Student's t on their means (from 8
references on, the studentised cluster bootstrap), but never narrower than what the spread over the trainings and videos of these references
alone gives, nor than what trainings and videos do to all references together, as they have seeds and prompts in common (`fid` and `kid`:
by resampling videos). They hold for prompts like these as a set: prompts are few and chosen. `better` and `worse` hold at the 5 % level
after Holm's correction over all replacements, metrics and initial noises of a card (`no_motion` is a family of its own). `{MARK}`: the
interval excludes zero, but among so many comparisons that is not enough. "No difference shown" is not "no difference": the number in
brackets is the smallest true difference that would have been found with 80 % probability, at the strictest level of Holm's correction."""


@dataclass(frozen=True)
class Estimate:
    """A mean, its standard error (None where there is but one value), the number of values, and of the references that they belong to."""

    mean: float
    error: float | None
    count: int
    references: int = 1

    def __str__(self) -> str:
        return number(self.mean) + (f" ± {number(self.error)}" if self.error is not None else "")


def number(value: float) -> str:
    """Three decimals, or one for large numbers; what rounds to zero has no sign."""
    text = f"{value:.3f}" if abs(value) < 100 else f"{value:.1f}"
    return text if text.strip("-0.") else text.lstrip("-")


def signed(value: float) -> str:
    """A number with its sign."""
    text = number(value)
    return f"+{text}" if value > 0 and text.strip("0.") else text


def frame_estimate(frame: pd.DataFrame) -> Estimate | None:
    """Mean of the references' means with its standard error; see :data:`NOTES`. None without any score.

    Args:
        frame: scores of one experiment, metric and initial noise.
    """
    frame = frame[frame["score"].notna()]
    means = reference_means(frame).tolist()
    if not means:
        return None
    trainings = frame.groupby("train_seed")["score"].mean().tolist()
    spread = next((values for values in (means, trainings, frame["score"].tolist()) if len(values) > 1), means)
    error = stdev(spread) / len(spread) ** 0.5 if len(spread) > 1 else None
    return Estimate(fmean(means), error, len(frame), len(means))


def arrow(metric: str) -> str:
    """Which way is better; nothing where neither is."""
    higher = higher_is_better(metric.removesuffix(RAW))
    return "" if higher is None else "↑" if higher else "↓"


def heading(metric: str) -> str:
    """A metric's column title."""
    return f"{metric.replace('_', ' ')} {arrow(metric)}".rstrip()


def label(study: Study, experiment: str) -> str:
    """A row's title: whose runs it shares, and how many of its runs are done if not all are."""
    owner = study.same_as.get(experiment)
    runs = [run for run in study.runs if run.experiment == (owner or experiment)]
    have = sum(run.finished for run in runs)
    what = "references" if len({run.reference for run in runs}) == len(runs) else "runs"
    partial = "" if have == len(runs) else f" ({have} of {len(runs)} {what})"
    return experiment + (f" (= {owner})" if owner else "") + partial


def scores_table(study: Study, frame: pd.DataFrame, columns: list[str], results: bool = True) -> str:
    """One row per experiment and control, one column per metric.

    Args:
        frame: scores of one initial noise. results: whether to add what the runs took, and the controls' rows.
    """
    groups = dict(list(frame.groupby(["experiment", "metric"])))
    own: dict[str, list[dict[str, Any]]] = {name: [] for name in study.experiments}
    for name, _, result in done_runs(study):
        own[name].append(result)
    rows = []
    scored = set(frame["experiment"])
    # What is done, but not from this initial noise, has no row.
    experiments = [name for name in study.experiments if name in scored or not own[name]]
    shows = [control for control in (ITSELF, SHUFFLED) if any((control, metric) in groups for metric in columns)]
    for name in [*experiments, *shows]:
        found = [frame_estimate(groups[name, metric]) if (name, metric) in groups else None for metric in columns]
        row = [label(study, name) if name in own else name, *("-" if value is None else str(value) for value in found)]
        if results:
            videos = len(
                frame[(frame["experiment"] == name) & frame["seed"].notna()].drop_duplicates(["reference", "train_seed", "prompt", "seed"])
            )
            size = f"{own[name][0]['parameters']['trainable']:,}" if own.get(name) else "-"
            seconds = f"{fmean(result['seconds'] for result in own[name]):.0f}" if own.get(name) else "-"
            row += [str(videos), size, seconds]
        rows.append(row)
    return grid(["experiment", *map(heading, columns), *(["videos", "trainable", "seconds"] if results else [])], rows)


def paired_table(compared: pd.DataFrame) -> str:
    """Differences of a card's replacements, and of the floor, from its baseline; empty where there is none.

    Args:
        compared: comparisons of one card and one initial noise.
    """
    rows = [
        [str(experiment), *map(difference, own.to_dict("records"))]
        for experiment, own in compared.groupby("experiment", sort=False)
        if (own["verdict"] != MISSING).any()
    ]
    metrics = list(dict.fromkeys(compared["metric"]))
    return grid([f"minus {baseline_of(compared)}", *map(heading, metrics)], rows) if rows else ""


def baseline_of(compared: pd.DataFrame) -> str:
    """The baseline's name, with its initial noise where that is another than what is compared with it."""
    first = compared.iloc[0]
    return str(first["baseline"]) + ("" if first["against"] == first["noise"] else f" ({first['against']} noise)")


def difference(row: dict[str, Any]) -> str:
    """A comparison in a table's cell."""
    if row["verdict"] == SAME:
        return SAME
    if not isfinite(row["difference"]):
        return "-"
    mark = row["verdict"].removesuffix(ONLY)
    unsure = mark.startswith(UNSURE)
    shows = mark.removeprefix(UNSURE) if unsure else f" {mark}"
    between = f" [{signed(row['low'])}, {signed(row['high'])}]" if isfinite(row["low"]) else ""
    return signed(row["difference"]) + between + (f" {MARK}" if unsure and between and row["p"] < LEVEL else "") + shows


def verdicts(compared: pd.DataFrame) -> str:
    """What may be said of each replacement, in words, one list item each; empty where there is nothing.

    Args:
        compared: comparisons of one card and one initial noise.
    """
    lines = []
    for experiment, own in compared.groupby("experiment", sort=False):
        parts, unsure = [], []
        for row in own.to_dict("records"):
            name = row["metric"].replace("_", " ")
            if row["verdict"].startswith(UNSURE):
                unsure.append(f"{name}{row['verdict'].removeprefix(UNSURE).removesuffix(ONLY)} ({smallest(row)})")
            elif row["verdict"] not in (SAME, MISSING):
                parts.append(f"{name} {row['verdict'].removesuffix(ONLY)} by {number(abs(row['difference']))}")
        if (own["verdict"] == SAME).all():
            parts = ["the same runs as the baseline"]
        if unsure:
            parts.append(f"{UNSURE} in {', '.join(unsure)}")
        if parts:
            lines.append(f"- `{experiment}`: {'; '.join(parts)}.")
    if any("(" in line for line in lines):
        lines.insert(0, "In brackets: the smallest true difference that would have been found.\n")
    if lines and (compared["references"] == 1).any() and not (compared["references"] > 1).any():
        lines.append("- All of this holds for this one reference only: nothing can be said of others.")
    return "\n".join(lines)


def smallest(row: dict[str, Any]) -> str:
    """The smallest difference that would have been found, if there can be one; in the row's ``unit`` of the metric, if it has one."""
    metric = row["metric"]
    low, high = METRICS[metric].range
    if not isfinite(row["detectable"]):
        return "no spread to judge by"
    return f"{number(row['detectable'])}" if row["detectable"] < (high - low) * row.get("unit", 1.0) else "none could be"


def failures(study: Study) -> list[str]:
    """One line per run that failed or has not been made."""
    lines = []
    for run in study.runs:
        result = run.result()
        if result is None:
            lines.append(f"- {run.name}: not run yet, or its configuration has changed since")
        elif result["status"] != "done":
            lines.append(f"- {run.name} failed: {result['reason']} (see {run.name}/traceback.txt)")
    return lines


def _facts(study: Study) -> str:
    runs = done_runs(study)
    if not runs:
        return "No run has finished."
    result = runs[0][2]
    cells = [cell for _, _, found in runs for cell in found["cells"]]
    seeds = sorted({cell["seed"] for cell in cells})
    trainings = sorted({run.train_seed for _, run, _ in runs if run.trains})
    steps = sorted({found["steps"] for _, _, found in runs if found["parameters"]["trainable"]})
    prompts = list(dict.fromkeys(cell["prompt"] for cell in cells))
    return (
        f"References: {', '.join(study.references)}. Training seeds: {', '.join(map(str, trainings)) or 'none'}. "
        f"Generation seeds: {', '.join(map(str, seeds))}. Training steps: {', '.join(map(str, steps)) or 'none'}. "
        f"Backbone: {result['config']['model']['backbone']['source']} ({result['backbone']}).\nPrompts: {'; '.join(prompts)}."
    )


def table(study: Study, compared: pd.DataFrame | None = None, shows: Shown | None = None) -> str:
    """The whole report as Markdown.

    Args:
        compared: of ``analysis.statistics.comparisons``. shows: of ``presentation.shown``.
            None makes them.
    """
    frame = scores_frame(study)
    compared = comparisons(study, frame) if compared is None else compared
    shows = shown(study, frame, controls(study, frame)) if shows is None else shows
    scaled = shows.comparisons(compared)
    parts = [f"# {' · '.join(card.name for card in study.cards)}", _facts(study)]
    lost = failures(study)
    if lost:
        parts.append("**Runs without a result** (rows with fewer references are not comparable with the others):\n\n" + "\n".join(lost))
    parts += [f"{name} resolves to the same configuration as {owner}: computed once, shown twice." for name, owner in study.same_as.items()]
    for noise in noises_of(frame["noise"]):
        own = shows.frame[shows.frame["noise"] == noise]
        parts += [f"## Initial noise: {noise}", f"({NOISES[noise]})" if noise in NOISES else ""]
        parts.append(scores_table(study, own, shows.columns(study.metrics, noise)))
        if truths_of(own):
            parts += [
                "Against the truth: distance of the object from the reference's true trajectory (the frame is 2 wide) and cosine of its "
                "displacements with the true ones, on references whose motion is known; share of videos that show the prompt's two "
                "colours, on all references.",
                scores_table(study, own, truths_of(own), results=False),
            ]
        for card in study.cards:
            parts += _card(card, scaled[(scaled["card"] == card.name) & (scaled["noise"] == noise)], noise)
    notes = [*shows.notes, *compared.attrs.get("notes", [])] if len(frame) else []
    parts.append("\n".join(f"- {note}" for note in notes))
    return "\n\n".join(part for part in [*parts, NOTES] if part) + "\n"


def _card(card: Card, compared: pd.DataFrame, noise: str) -> list[str]:
    paired = paired_table(compared) if len(compared) else ""
    title = f"### {card.name}: paired differences from {baseline_of(compared)}, {noise} noise" if paired else ""
    return [title, paired, verdicts(compared)] if paired else []
