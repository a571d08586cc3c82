"""How a run ends in a terminal: the main scores with their verdicts, what has no result, and where the report is."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from motion_ablation.study.plan.cards import PLAIN
from motion_ablation.study.report.comparison import Comparison
from motion_ablation.study.report.formats import heading, number
from motion_ablation.study.report.model import CardSection, Report, ScoreRow

MAIN = ("text_similarity", "motion_fidelity", "temporal_consistency", "fid")  # the paper's four
MARKS = {"better": ("▲", "green"), "worse": ("▼", "red"), "different": ("◆", "yellow"), "unclear": ("○", "dim")}


def print_summary(report: Report, folder: Path, console: Console | None = None) -> None:
    """Prints about ten lines for a card; all else is in the study's ``folder``."""
    console = console or Console()
    shown = judged_sections(report)
    known: set[tuple[str, str]] = set()
    for noise, card in shown:
        console.print(f"\n{card.name}, {noise} noise", style="bold", markup=False, highlight=False)
        console.print(score_table(noise, card, known))
    if shown:
        console.print(f"mean scores; {_key(shown)}", style="dim", markup=False, highlight=False, soft_wrap=True)
    if report.lost:
        console.print(_lost(report, folder), style="red", markup=False, highlight=False, soft_wrap=True)
    places = f"report: {folder / 'report.html'}; as text: table.md beside it; curves and videos: tensorboard --logdir {folder}"
    console.print(places, markup=False, highlight=False, soft_wrap=True)


def judged_sections(report: Report) -> list[tuple[str, CardSection]]:
    """The cards under the initial noises on which they have verdicts, each with the noise; one without any under its first."""
    found: dict[str, list[tuple[str, CardSection]]] = {}
    for section in report.sections:
        for card in section.cards:
            found.setdefault(card.name, []).append((section.noise, card))
    return [each for own in found.values() for each in ([(noise, card) for noise, card in own if card.judged] or own[:1])]


def score_table(noise: str, card: CardSection, known: set[tuple[str, str]]) -> Table:
    """A card's scores in the paper's four metrics, and in what else it judges.

    Args:
        known: baselines and controls that another card has shown, by name and noise; they are not shown again, and this card's are added.
    """
    metrics = [metric for metric in dict.fromkeys([*MAIN, *card.judged]) if metric in card.scores.metrics]
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("experiment", no_wrap=True)
    for metric in metrics:
        table.add_column(heading(metric), justify="right")
    for row in card.scores.rows:
        if row.kind == "replacement" or ((row.kind == "baseline" or row.name == PLAIN) and (row.name, noise) not in known):
            table.add_row(Text(row.label), *(_cell(row, card, metric) for metric in metrics))
            known |= {(row.name, noise)} if row.kind != "replacement" else set()
    return table


def _cell(row: ScoreRow, card: CardSection, metric: str) -> Text:
    value = row.values[card.scores.metrics.index(metric)]
    mark, style = next((MARKS[each.tone] for each in _verdicts(card) if (each.experiment, each.metric) == (row.name, metric)), (" ", ""))
    return Text(f"{number(value.mean) if value else '–'} ").append(mark, style)


def _verdicts(card: CardSection) -> list[Comparison]:
    """What is judged and has a result."""
    return [row for row in card.comparisons if row.primary and row.bounded]


def _key(shown: list[tuple[str, CardSection]]) -> str:
    """What the marks mean."""
    if not any(_verdicts(card) for _, card in shown):
        return "no verdicts: these need several references, and the metrics that a card judges"
    baselines = ", ".join(dict.fromkeys(card.baseline for _, card in shown))
    other = "◆ other, " * any(row.tone == "different" for _, card in shown for row in _verdicts(card))
    return f"against {baselines}: ▲ better, ▼ worse, {other}○ no difference shown; unmarked: exploratory"


def _lost(report: Report, folder: Path) -> str:
    """How many runs have no result, and why the first of them has none; one that failed is told of before one that was not made."""
    first = sorted(report.lost, key=lambda run: not run.failed)[0]
    more = f"; all: motion-ablation status {folder}" if len(report.lost) > 1 else ""
    return f"{len(report.lost)} of {report.planned} runs without a result: {first.name}: {first.reason}{more}"
