"""The report as one HTML page that needs nothing beside it: no network, no script, no other file."""

from __future__ import annotations

from typing import Any

import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined

from motion_ablation import __version__
from motion_ablation.study.plan.study import Study
from motion_ablation.study.report import drawings
from motion_ablation.study.report.configs import configurations
from motion_ablation.study.report.curves import training_curves
from motion_ablation.study.report.films import Film, films
from motion_ablation.study.report.findings import findings
from motion_ablation.study.report.grids import config_grid, cost_grid, difference_grid, plain, protocol_grid, score_grid, version_grid
from motion_ablation.study.report.presentation import Shown
from motion_ablation.study.report.table import NOTES, baseline_of
from motion_ablation.study.results import NOISES, Results, noises_of, truths_of

COSTS = (
    "Seconds are those of a run's last attempt, by the clock: training, generating and scoring, less whatever was kept from another run or "
    "an earlier attempt, plus waiting for what another run was computing. They tell what this study took, not what an experiment costs "
    "alone. Steps are optimiser steps."
)


def html(study: Study, shows: Shown, compared: pd.DataFrame) -> str:
    """The page.

    Args:
        shows: of ``presentation.shown``. compared: of ``analysis.statistics.comparisons``.
    """
    # Everything that a user can name (prompts, experiments, cards, references, errors) is escaped by the template.
    pages = Environment(loader=PackageLoader("motion_ablation.study.report", "templates"), autoescape=True, undefined=StrictUndefined)
    return pages.get_template("report.html").render(context(study, shows, compared))


def context(study: Study, shows: Shown, compared: pd.DataFrame) -> dict[str, Any]:
    """All that the template shows."""
    noises = [_noise(study, noise, shows, shows.comparisons(compared)) for noise in noises_of(compared["noise"])]
    groups, note = _films(Results(study))
    curves = training_curves(study)
    key, panels = drawings.curves(study, curves)
    shown_differences = [
        (f"{card['name']}, {noise['name']} noise", finding.experiment, part)
        for noise in noises
        for card in noise["cards"]
        for finding in card["findings"]
        for part in finding.parts
        if part.tone
    ]
    sections = [("shown", "What is shown")] if noises else []
    sections += [(noise["anchor"], f"{noise['name']} noise") for noise in noises]
    sections += [("videos", "Videos")] if groups else []
    sections += [("training", "Training")] if curves else []
    sections += [("cost", "Cost"), ("configurations", "Configurations"), ("versions", "Versions")]
    return {
        "title": " · ".join(card.name for card in study.cards),
        "version": __version__,
        "facts": _facts(study, shows.frame),
        "sections": sections,
        "run_count": len(study.runs),
        "lost": lost(study),
        "shared": [f"{name} resolves to the same configuration as {owner}: computed once." for name, owner in study.same_as.items()],
        "noises": noises,
        "shown_differences": shown_differences,
        "remarks": [text for note in [*shows.notes, *compared.attrs.get("notes", [])] for text in plain(note)],
        "notes": plain(NOTES),
        "films": groups,
        "films_note": note,
        "curves": panels,
        "curves_key": key,
        "curves_note": drawings.CURVES_NOTE,
        "costs": cost_grid(study),
        "costs_note": COSTS,
        "configs": [{**vars(config), "changes": config_grid(config)} for config in configurations(study)],
        "versions": version_grid(study),
        "protocols": protocol_grid(study),
    }


def lost(study: Study) -> list[tuple[str, str]]:
    """Runs without a result, and why."""
    found = []
    for run in study.runs:
        result = run.result()
        if result is None:
            found.append((run.name, "not run yet, or its configuration has changed since"))
        elif result["status"] != "done":
            found.append((run.name, f"{result.get('reason', 'failed')} (see {run.name}/traceback.txt)"))
    return found


def _facts(study: Study, frame: pd.DataFrame) -> list[tuple[str, str]]:
    results = [result for run in study.runs if (result := run.result()) is not None]
    done = [result for result in results if result["status"] == "done"]
    videos = frame[frame["prompt"] != ""]
    steps = sorted({result["steps"] for result in done} - {0})
    sources = dict.fromkeys(f"{result['config']['model']['backbone']['source']} ({result['backbone']})" for result in done)
    facts = {
        "Runs": f"{len(done)} of {len(study.runs)} done, {sum(result['status'] == 'failed' for result in results)} failed",
        "References": ", ".join(study.references),
        "Prompts": "; ".join(dict.fromkeys(videos["prompt"])),
        "Generation seeds": ", ".join(map(str, sorted(set(videos["seed"].dropna())))),
        "Training seeds": ", ".join(map(str, study.train_seeds)),
        "Training steps": ", ".join(map(str, steps)) or "none",
        "Backbone": ", ".join(sources),
    }
    return [(term, value) for term, value in facts.items() if value]


def _noise(study: Study, noise: str, shows: Shown, scaled: pd.DataFrame) -> dict[str, Any]:
    own, compared = shows.frame[shows.frame["noise"] == noise], scaled[scaled["noise"] == noise]
    truths = truths_of(own)
    scores = [score_grid(study, own, shows.columns(study.metrics, noise), f"Scores, {noise} noise")]
    if truths:
        scores.append(score_grid(study, own, truths, f"Against the truth of the built-in references, {noise} noise"))
    cards = []
    for card in study.cards:
        rows = compared[compared["card"] == card.name]
        if rows.empty:
            continue
        cards.append(
            {
                "name": card.name,
                "question": f"{card.action}: {card.part}. {card.why}",
                "baseline": baseline_of(rows),
                "findings": findings(rows),
                "one_reference": rows["references"].max() == 1,
                "panels": drawings.forests(rows),
                "differences": difference_grid(rows, f"Differences from {baseline_of(rows)}, {noise} noise"),
            }
        )
    anchor = "noise-" + "".join(character if character.isalnum() else "-" for character in noise)
    return {"name": noise, "anchor": anchor, "meaning": NOISES.get(noise, ""), "scores": scores, "cards": cards}


def _films(results: Results) -> tuple[list[dict[str, Any]], str]:
    """The rows of videos by noise and reference, and what of them is left out."""
    shown, left_out = films(results)
    study = results.study
    groups: dict[tuple[str, str], list[Film]] = {}
    noises = noises_of(film.row.noise for film in shown)
    for film in sorted(shown, key=lambda film: (noises.index(film.row.noise), study.references.index(film.row.reference))):
        groups.setdefault((film.row.noise, film.row.reference), []).append(film)
    first = next(iter(groups), ("", ""))[0]
    note = f"All {len(shown)} rows are here."
    if left_out:
        note = (
            f"{len(shown)} of {len(shown) + len(left_out)} rows are here, to keep the page small: the first seed of every prompt comes "
            "first, then the second seeds. All videos are in the runs' folders, under frames/."
        )
    return [{"noise": noise, "reference": name, "rows": rows, "open": noise == first} for (noise, name), rows in groups.items()], note
