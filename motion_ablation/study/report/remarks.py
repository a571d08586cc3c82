"""What must be said about the numbers of a study: warnings of its metrics, lost tracks, and what its verdicts speak of."""

from __future__ import annotations

from motion_ablation.study.results import Results

MANY_LOST = 0.5


def cautions(results: Results) -> list[str]:
    """What the runs' protocols say against the study's metrics: warnings, and tracks that were lost on the way."""
    found: dict[str, list[str]] = {}
    lost: dict[str, list[float]] = {}
    for each in results.finished:
        for metric, protocol in each.protocols.items():
            if metric in results.study.metrics:
                found.setdefault(metric, []).extend([protocol["warning"]] if "warning" in protocol else [])
                lost.setdefault(metric, []).extend([protocol["lost_tracks"]] if "lost_tracks" in protocol else [])
    notes = [f"{metric.replace('_', ' ')}: {warning}." for metric, warnings in found.items() for warning in dict.fromkeys(warnings)]
    for metric, shares in lost.items():
        if shares and max(shares) > MANY_LOST:
            name, range_of = metric.replace("_", " "), f"{min(shares):.0%} to {max(shares):.0%}"
            notes.append(f"{name}: {range_of} of a run's tracks were lost on the way; where most are, little of its videos was judged.")
    return notes


def generalises(results: Results) -> str:
    """In one line, what the verdicts of a study speak of: what was drawn anew for each reference varies with it."""
    prompts = {each.run.reference: frozenset(cell.prompt for cell in each.cells) for each in results.finished}
    fixed = len(prompts) > 1 and len(set(prompts.values())) == 1
    if len(prompts) < 2:
        return "One reference: nothing can be said of others, so there are no verdicts."
    if fixed:
        return f"Verdicts speak of other references, noises and trainings like these {len(prompts)}, and of these prompts, which all share."
    return f"Verdicts speak of other references, prompts, noises and trainings like those of these {len(prompts)} references."
