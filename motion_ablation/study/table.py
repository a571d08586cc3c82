"""From results to tables; only reads what the runs wrote."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Any

from motion_ablation.metrics import METRICS
from motion_ablation.study.cards import Card
from motion_ablation.study.plan import Study

TRUTH = {"trajectory_error": False, "direction": True, "prompt_colors": True}  # whether higher is better
CELL = ("reference", "prompt", "seed", "noise")
NOISES = {"blend": "the reference's inverted noise, blended: the paper's setting", "random": "random: isolates what the embedding does"}
NOTES = """\
`±` is the standard error of the mean. Scores are averaged within each reference first; with several references the error is
that of the mean over references (their standard deviation over the root of their number), because prompts and seeds of one
reference are not independent. With one reference it is that over its cells (prompts × seeds), which says nothing about other
references. `fid` is one distance per reference, between all its generated and its own frames, averaged over references; with
few frames it is biased upwards, for all rows alike. ↑ higher is better, ↓ lower is better."""


@dataclass(frozen=True)
class Estimate:
    """A mean, its standard error (None where there is but one value), and the number of values."""

    mean: float
    error: float | None
    count: int

    def __str__(self) -> str:
        return number(self.mean) + (f" ± {number(self.error)}" if self.error is not None else "")

    def signed(self) -> str:
        """As a difference, with its sign; what rounds to zero has none."""
        nought = not number(self.mean).strip("-0.")
        return str(Estimate(0.0, self.error, self.count)) if nought else ("+" if self.mean > 0 else "") + str(self)


def number(value: float) -> str:
    """Three decimals, or one for large numbers."""
    return f"{value:.3f}" if abs(value) < 100 else f"{value:.1f}"


def estimate(groups: Sequence[Sequence[float]]) -> Estimate | None:
    """Mean of the references' means with its standard error; see :data:`NOTES`. None without any value.

    Args:
        groups: the values of each reference; empty ones are left out.
    """
    groups = [group for group in groups if group]
    if not groups:
        return None
    means = [fmean(group) for group in groups]
    spread = means if len(groups) > 1 else groups[0]
    error = stdev(spread) / len(spread) ** 0.5 if len(spread) > 1 else None
    return Estimate(fmean(means), error, sum(map(len, groups)))


Results = dict[tuple[str, str], dict[str, Any]]


def done_results(study: Study) -> Results:
    """Results of the runs that are done, by experiment and reference; experiments that share runs share results."""
    found = {}
    for experiment in study.experiments:
        for reference in study.references:
            result = study.run_of(experiment, reference).result()
            if result is not None and result["status"] == "done":
                found[experiment, reference] = result
    return found


def cell_scores(result: dict[str, Any], noise: str, metric: str) -> dict[tuple[Any, ...], float]:
    """A run's scores by cell; a metric of whole sets gives one score, for the cell ``()``."""
    cells = {tuple(cell[key] for key in CELL): cell[metric] for cell in result["cells"] if cell["noise"] == noise and metric in cell}
    whole = result["metrics"].get(f"{noise}/{metric}")
    return cells if cells or whole is None else {(): whole}


def metric_estimate(results: Results, study: Study, experiment: str, noise: str, metric: str) -> Estimate | None:
    """An experiment's score over its references."""
    found = [results[experiment, reference] for reference in study.references if (experiment, reference) in results]
    return estimate([list(cell_scores(result, noise, metric).values()) for result in found])


def paired_estimate(results: Results, study: Study, experiment: str, baseline: str, noise: str, metric: str) -> Estimate | None:
    """Mean difference from the baseline on the same reference, prompt, seed and noise, over the references that both have."""
    groups = []
    for reference in study.references:
        if (experiment, reference) in results and (baseline, reference) in results:
            mine, theirs = (cell_scores(results[name, reference], noise, metric) for name in (experiment, baseline))
            groups.append([mine[cell] - theirs[cell] for cell in mine if cell in theirs])
    return estimate(groups)


def noises_of(results: Results) -> list[str]:
    """The initial noises that were scored, the paper's first."""
    found = dict.fromkeys(cell["noise"] for result in results.values() for cell in result["cells"])
    return [noise for noise in NOISES if noise in found] + [noise for noise in found if noise not in NOISES]


def arrow(metric: str) -> str:
    """Which way is better."""
    higher = TRUTH[metric] if metric in TRUTH else METRICS[metric].higher_is_better
    return "↑" if higher else "↓"


def heading(metric: str) -> str:
    """A metric's column title."""
    return f"{metric.replace('_', ' ')} {arrow(metric)}"


def grid(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table whose columns line up as plain text too; the first is aligned left, the others right."""
    lines = [list(header), *map(list, rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(header))]
    rule = [":" + "-" * (widths[0] - 1), *("-" * (width - 1) + ":" for width in widths[1:])]
    padded = [[cell.ljust(w) if i == 0 else cell.rjust(w) for i, (cell, w) in enumerate(zip(line, widths, strict=True))] for line in lines]
    return "\n".join("| " + " | ".join(line) + " |" for line in [padded[0], rule, *padded[1:]])


def _text(value: Estimate | None) -> str:
    return "-" if value is None else str(value)


def _label(study: Study, results: Results, experiment: str) -> str:
    owner = study.same_as.get(experiment)
    have = sum((experiment, reference) in results for reference in study.references)
    partial = "" if have == len(study.references) else f" ({have} of {len(study.references)} references)"
    return experiment + (f" (= {owner})" if owner else "") + partial


def scores_table(study: Study, results: Results, noise: str) -> str:
    """One row per experiment, one column per metric of the cards, for one initial noise."""
    header = ["experiment", *map(heading, study.metrics), "videos", "trainable", "seconds"]
    rows = []
    for experiment in study.experiments:
        own = [results[experiment, reference] for reference in study.references if (experiment, reference) in results]
        scores = [_text(metric_estimate(results, study, experiment, noise, metric)) for metric in study.metrics]
        videos = sum(cell["noise"] == noise for result in own for cell in result["cells"])
        size = f"{own[0]['parameters']['trainable']:,}" if own else "-"
        seconds = f"{fmean(result['seconds'] for result in own):.0f}" if own else "-"
        rows.append([_label(study, results, experiment), *scores, str(videos), size, seconds])
    return grid(header, rows)


def truth_table(study: Study, results: Results, noise: str) -> str:
    """The same for the measures against the built-in world's truth; empty where nothing has a truth."""
    if not any(cell_scores(result, noise, name) for result in results.values() for name in TRUTH):
        return ""
    rows = [
        [_label(study, results, name), *(_text(metric_estimate(results, study, name, noise, metric)) for metric in TRUTH)]
        for name in study.experiments
    ]
    return grid(["experiment", *map(heading, TRUTH)], rows)


def paired_table(study: Study, results: Results, card: Card, noise: str) -> str:
    """Differences of a card's replacements, and of the floor, from its baseline; empty where the baseline has no result."""
    truths = [name for name in TRUTH if any(cell_scores(result, noise, name) for result in results.values())]
    columns = [*card.metrics, *truths]
    rows = []
    for experiment in card.experiments:
        if experiment == card.baseline:
            continue
        if study.same_as.get(experiment, experiment) == study.same_as.get(card.baseline, card.baseline):
            rows.append([experiment, *["same runs"] * len(columns)])
            continue
        found = [paired_estimate(results, study, experiment, card.baseline, noise, metric) for metric in columns]
        if any(found):
            rows.append([experiment, *("-" if value is None else value.signed() for value in found)])
    return grid([f"minus {card.baseline}", *map(heading, columns)], rows) if rows else ""


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


def _facts(study: Study, results: Results) -> str:
    if not results:
        return "No run has finished."
    result = next(iter(results.values()))
    cells = [cell for found in results.values() for cell in found["cells"]]
    seeds = sorted({cell["seed"] for cell in cells})
    steps = sorted({found["steps"] for found in results.values() if found["parameters"]["trainable"]})
    prompts = list(dict.fromkeys(cell["prompt"] for cell in cells))
    return (
        f"References: {', '.join(study.references)}. Generation seeds: {', '.join(map(str, seeds))}. "
        f"Training steps: {', '.join(map(str, steps)) or 'none'}. Backbone: {result['config']['model']['backbone']['source']} "
        f"({result['backbone']}).\nPrompts: {'; '.join(prompts)}."
    )


def table(study: Study) -> str:
    """The whole report as Markdown."""
    results = done_results(study)
    parts = [f"# {' · '.join(card.name for card in study.cards)}", _facts(study, results)]
    lost = failures(study)
    if lost:
        parts.append("**Runs without a result** (rows with fewer references are not comparable with the others):\n\n" + "\n".join(lost))
    same = [f"{name} resolves to the same configuration as {owner}: computed once, shown twice." for name, owner in study.same_as.items()]
    parts += same
    for noise in noises_of(results):
        parts += [f"## Initial noise: {noise}", f"({NOISES[noise]})" if noise in NOISES else "", scores_table(study, results, noise)]
        truth = truth_table(study, results, noise)
        if truth:
            parts += [
                "Against the truth: distance of the object from the reference's true trajectory (the frame is 2 wide) and cosine of its "
                "displacements with the true ones, on references whose motion is known; share of videos that show the prompt's two "
                "colours, on all references.",
                truth,
            ]
        for card in study.cards:
            paired = paired_table(study, results, card, noise)
            if paired:
                parts += [f"### {card.name}: paired differences from {card.baseline}, {noise} noise", paired]
    return "\n\n".join(part for part in [*parts, NOTES] if part) + "\n"


def scores_csv(study: Study) -> str:
    """One row per generated video of each run, as CSV."""
    rows = []
    for (experiment, _), result in done_results(study).items():
        shared = {"experiment": experiment, "same_as": study.same_as.get(experiment, "")}
        for cell in result["cells"]:
            sets = {f"run_{m}": result["metrics"].get(f"{cell['noise']}/{m}") for m in study.metrics if m not in cell}
            rows.append({**shared, **cell, **sets, "trainable": result["parameters"]["trainable"], "seconds": result["seconds"]})
    columns = dict.fromkeys(key for row in rows for key in row)
    text = io.StringIO()
    writer = csv.DictWriter(text, list(columns), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
