"""A study's results as a :class:`~motion_ablation.study.report.model.Report`; reads what the runs wrote, runs nothing."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from motion_ablation.callbacks import cell_stem
from motion_ablation.metrics import METRICS
from motion_ablation.records import CELL, Cell
from motion_ablation.study.analysis.agreement import agreement
from motion_ablation.study.analysis.controls import CONTROLS, controls
from motion_ablation.study.analysis.statistics import comparisons
from motion_ablation.study.finished import Finished
from motion_ablation.study.plan.cards import PLAIN, Card
from motion_ablation.study.plan.study import Study
from motion_ablation.study.report.comparison import Comparison, Finding
from motion_ablation.study.report.configs import configurations
from motion_ablation.study.report.curves import training_curves
from motion_ablation.study.report.estimates import frame_estimate, strata_tables
from motion_ablation.study.report.model import (
    REFERENCE,
    CardSection,
    Experiment,
    Film,
    LostRun,
    NoiseSection,
    Report,
    ScoreRow,
    ScoreTable,
)
from motion_ablation.study.report.remarks import cautions, generalises
from motion_ablation.study.results import NOISES, Results, higher_is_better, noises_of, truths_of

RARE = ("Prompts and captions cut by the text encoder", "References that are shown and not counted")
"""Facts that are left out where there is nothing to say."""


def build_report(study: Study, compared: pd.DataFrame | None = None) -> Report:
    """The report of a study.

    Args:
        compared: of :func:`motion_ablation.study.analysis.statistics.comparisons`; None makes it.
    """
    results = Results(study)
    frame, done = results.frame, results.every
    compared = comparisons(study, frame) if compared is None else compared
    known = controls(results)
    rows = pd.concat([part for part in (frame, known.frame) if len(part)] or [frame], ignore_index=True)
    experiments = {name: _experiment(study, name, done) for name in study.experiments}
    return Report(
        title=" · ".join(card.name for card in study.cards),
        baseline=study.cards[0].baseline,
        references=study.references,
        facts=_facts(study, done),
        experiments=experiments,
        planned=len(study.runs),
        lost=_lost(study),
        sections=[_section(study, rows[rows["noise"] == noise], noise, compared, experiments) for noise in noises_of(frame["noise"])],
        remarks=[*cautions(results), *agreement(results), *known.notes] if len(frame) else [],
        generalises=generalises(results),
        films=films_of(results),
        curves=training_curves(study),
        configurations=configurations(study),
        versions=_collected(
            item for each in done for item in {**each.result.get("versions", {}), "backbone": each.result["backbone"]}.items()
        ),
        protocols=list(dict.fromkeys(_protocol(*item) for each in results.finished for item in each.protocols.items())),
    )


def _facts(study: Study, done: list[Finished]) -> dict[str, str]:
    results = [result for run in study.runs if (result := run.result()) is not None]
    cells = [cell for each in done for cell in each.cells]
    counts = {status: sum(result["status"] == status for result in results) for status in ("done", "failed")}
    sources = [f"{each.result['config']['model']['backbone']['source']} ({each.result['backbone']})" for each in done]
    cut = dict.fromkeys(f"“… {end}”" for each in done for end in each.result.get("cut_texts", {}).values())
    facts = {
        "Runs": f"{counts['done']} of {len(study.runs)} done, {counts['failed']} failed",
        "References": ", ".join(study.judged),
        "References that are shown and not counted": ", ".join(study.shown),
        "Prompts": "; ".join(dict.fromkeys(cell.prompt for cell in cells)),
        "Prompts and captions cut by the text encoder": "; ".join(cut),
        "Generation seeds": ", ".join(map(str, sorted({cell.seed for cell in cells}))),
        "Training seeds": ", ".join(map(str, sorted({each.run.train_seed for each in done if each.run.trains}))) or "none",
        "Training steps": ", ".join(map(str, sorted({each.result["steps"] for each in done} - {0}))) or "none",
        "Backbone": ", ".join(dict.fromkeys(sources)),
    }
    return {term: fact for term, fact in facts.items() if fact or term not in RARE}


def _lost(study: Study) -> list[LostRun]:
    found = []
    for run in study.runs:
        result = run.result()
        if result is None:
            found.append(LostRun(run.name, False, "not run yet, or its configuration has changed since"))
        elif result["status"] != "done":
            found.append(LostRun(run.name, True, f"{result.get('reason', 'unknown')} (see {run.name}/traceback.txt)"))
    return found


def _experiment(study: Study, name: str, done: list[Finished]) -> Experiment:
    runs = study.runs_of(name)
    own = [each.result for each in done if each.experiment == name]
    return Experiment(
        name,
        study.same_as.get(name, ""),
        unit="references" if len({run.reference for run in runs}) == len(runs) else "runs",
        planned=len(runs),
        done=len(own),
        trainable=list(dict.fromkeys(result["parameters"]["trainable"] for result in own)),
        steps=list(dict.fromkeys(result["steps"] for result in own)),
        videos=sum(len(result["cells"]) for result in own),
        seconds=[float(result["seconds"]) for result in own],
    )


def _section(study: Study, own: pd.DataFrame, noise: str, compared: pd.DataFrame, experiments: dict[str, Experiment]) -> NoiseSection:
    truths = truths_of(own)
    kinds = {**dict.fromkeys(study.experiments, "experiment"), **dict.fromkeys(CONTROLS, "control")}
    cards = []
    for card in study.cards:
        rows = compared[(compared["card"] == card.name) & (compared["noise"] == noise)]
        if len(rows):
            cards.append(
                _card(
                    card,
                    rows,
                    score_table(own, list(dict.fromkeys([*card.metrics, *truths])), _kinds(card), experiments),
                )
            )
    return NoiseSection(
        noise,
        NOISES.get(noise, ""),
        score_table(own, study.metrics, kinds, experiments),
        score_table(own, truths, kinds, experiments) if truths else None,
        cards,
        strata_tables(study, own, experiments),
    )


def _kinds(card: Card) -> dict[str, str]:
    """The rows of a card's table in a paper, and what they are."""
    own = {card.baseline: "baseline", **dict.fromkeys(card.replacements, "replacement")}
    return own | {name: "control" for name in (PLAIN, *CONTROLS) if name not in own}


def score_table(frame: pd.DataFrame, metrics: list[str], kinds: dict[str, str], experiments: dict[str, Experiment]) -> ScoreTable:
    """The mean scores of one initial noise.

    What is done, but not from this noise, has no row, and a control none without a score. What has not been done has a row of dashes.

    Args:
        frame: scores of that noise. kinds: what the rows are, by name. experiments: by name; other names are controls.
    """
    groups = dict(list(frame.groupby(["experiment", "metric"])))
    videos = frame[frame["seed"].notna()].drop_duplicates(["experiment", "reference", "train_seed", "prompt", "seed"])["experiment"]
    counts, scored = videos.value_counts(), set(frame["experiment"])
    rows = []
    for name, kind in kinds.items():
        if name not in scored and (kind == "control" or experiments[name].done):
            continue
        values = [frame_estimate(groups[name, metric]) if (name, metric) in groups else None for metric in metrics]
        if name in experiments or any((name, metric) in groups for metric in metrics):
            rows.append(ScoreRow(name, kind, experiments[name].label if name in experiments else name, values, int(counts.get(name, 0))))
    return ScoreTable(metrics, rows)


def _card(card: Card, compared: pd.DataFrame, scores: ScoreTable) -> CardSection:
    first = compared.iloc[0]
    other = "" if first["against"] == first["noise"] else f" ({first['against']} noise)"
    found = findings(compared)
    question = f"{card.action}: {card.part}. {card.why}"
    return CardSection(card.name, card.path.stem, question, f"{first['baseline']}{other}", found, _with_best(scores, found))


def findings(compared: pd.DataFrame) -> list[Finding]:
    """What may be said of each experiment; of the comparisons of one card and one initial noise."""
    columns = [name for name in Comparison.__dataclass_fields__ if name != "possible"]
    return [
        Finding(
            str(experiment),
            [Comparison(**{name: row[name] for name in columns}, possible=_possible(row)) for row in rows.to_dict("records")],
        )
        for experiment, rows in compared.groupby("experiment", sort=False)
    ]


def _possible(row: dict[str, Any]) -> float:
    """The greatest difference that a metric can show."""
    low, high = METRICS[row["metric"]].range
    return high - low


def _with_best(table: ScoreTable, found: list[Finding]) -> ScoreTable:
    """Marks the best of each column, of the baseline and the replacements, if it is shown to be better than the baseline."""
    better = {(row.experiment, row.metric) for finding in found for row in finding.comparisons if row.tone == "better"}
    rows = [list(row.values) for row in table.rows]
    for column, metric in enumerate(table.metrics):
        own = {i: value for i, row in enumerate(table.rows) if row.kind != "control" and (value := row.values[column]) is not None}
        most = max((value.references for value in own.values()), default=0)
        means = {i: value.mean for i, value in own.items() if value.references == most}  # means over fewer are of something else
        higher = higher_is_better(metric)
        if higher is None or not means:
            continue
        best = (max if higher else min)(means, key=means.__getitem__)
        if (table.rows[best].name, metric) in better:
            rows[best][column] = replace(own[best], best=True)
    return replace(table, rows=[replace(row, values=values) for row, values in zip(table.rows, rows, strict=True)])


def films_of(results: Results) -> list[Film]:
    """All that was generated and kept, in the order in which to show it if not all can be shown.

    First the first seed of every reference's first prompt under each initial noise, then that of its second prompt, and so on; then the
    second seeds. Shown are the runs of the first training seed that is done, the baselines' first.
    """
    study = results.study
    baselines = [study.owner(card.baseline) for card in study.cards]
    order = [name for name in dict.fromkeys([*baselines, *study.experiments]) if name not in study.same_as]
    folders: dict[Cell, dict[str, Path]] = {}  # where each experiment keeps a cell's frames
    found = (results.first(name, reference) for name in study.experiments if name in order for reference in study.references)
    for each in found:
        for cell in each.cells if each is not None else ():
            folders.setdefault(cell, {})[each.experiment] = each.run.folder / "frames"  # type: ignore[union-attr]
    columns: dict[tuple[str, str], set[str]] = {}
    for cell, there in folders.items():
        columns.setdefault((cell.reference, cell.noise), set()).update(there)
    films = []
    for cell in _in_turn(list(folders), study.references):
        stem = cell_stem(**{name: getattr(cell, name) for name in CELL})
        paths = {name: folders[cell][name] / f"{stem}.npz" for name in order if name in folders[cell]}
        videos = {name: path for name, path in paths.items() if path.is_file() and path.with_name("reference.npz").is_file()}
        if videos:
            original = next(iter(videos.values())).with_name("reference.npz")
            shows = [REFERENCE, *(name for name in order if name in columns[cell.reference, cell.noise])]
            films.append(Film(cell.reference, cell.prompt, cell.seed, cell.noise, shows, {REFERENCE: original, **videos}))
    return films


def _in_turn(cells: list[Cell], references: list[str]) -> list[Cell]:
    """Cells by the rank of their seed, then of their prompt, among those of their reference; then by noise and reference."""
    noises = noises_of(cell.noise for cell in cells)
    prompts: dict[str, dict[str, int]] = {name: {} for name in references}
    seeds: dict[str, dict[int, int]] = {name: {} for name in references}
    for cell in cells:
        prompts[cell.reference].setdefault(cell.prompt, len(prompts[cell.reference]))
        seeds[cell.reference].setdefault(cell.seed, len(seeds[cell.reference]))

    def rank(cell: Cell) -> tuple[int, ...]:
        own = seeds[cell.reference][cell.seed], prompts[cell.reference][cell.prompt]
        return *own, noises.index(cell.noise), references.index(cell.reference)

    return sorted(cells, key=rank)


def _collected(items: Iterable[tuple[str, Any]]) -> list[tuple[str, str]]:
    """Each name with all its values, in first-seen order."""
    found: dict[str, dict[str, None]] = {}
    for name, value in items:
        found.setdefault(name, {})[str(value)] = None
    return [(name, ", ".join(values)) for name, values in found.items()]


def _protocol(metric: str, protocol: Any) -> tuple[str, str]:
    """A metric and how it was taken, in words."""
    words = [f"{key.replace('_', ' ')}: {value if isinstance(value, str) else json.dumps(value)}" for key, value in protocol.items()]
    return metric.replace("_", " "), "; ".join(words)
