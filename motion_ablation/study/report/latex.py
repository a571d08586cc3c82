"""A study's tables for a paper: LaTeX with booktabs, which compiles alone and can be put into a document with ``\\input``."""

from __future__ import annotations

import unicodedata

import pandas as pd

from motion_ablation.study.analysis.controls import ITSELF, SHUFFLED
from motion_ablation.study.plan.cards import FLOOR, Card
from motion_ablation.study.plan.study import Study
from motion_ablation.study.report.forest import tone
from motion_ablation.study.report.presentation import RAW, Shown
from motion_ablation.study.report.table import Estimate, baseline_of, frame_estimate, heading, label, number
from motion_ablation.study.results import done_runs, higher_is_better, noises_of, truths_of

HEAD = r"""% Tables of a study by motion-ablation: \usepackage{booktabs,graphicx} and \input{table}. This file also compiles by itself.
\expandafter\ifx\csname @twoclasseserror\endcsname\documentclass
  \let\studyend\relax
\else
  \documentclass{article}
  \usepackage[margin=2cm]{geometry}
  \usepackage{booktabs,graphicx}
  \begin{document}
  \def\studyend{\end{document}}
\fi
\providecommand{\studyfit}[1]{\resizebox{\ifdim\width>\textwidth\textwidth\else\width\fi}{!}{#1}} % as wide as the page at most
"""
FOOT = "\\studyend\n"
SPECIAL = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#", "%": r"\%", "_": r"\_",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}", '"': "''",
    "±": r"$\pm$", "×": r"$\times$", "–": "--", "—": "---", "“": "``", "”": "''", "‘": "`", "’": "'", "·": r"$\cdot$",
    "↑": r"$\uparrow$", "↓": r"$\downarrow$", "→": r"$\rightarrow$", "…": r"\ldots{}", "−": r"$-$",
}  # fmt: skip


def escape(text: str) -> str:
    """Text that LaTeX prints as it is, without any package; what its fonts lack becomes its nearest ASCII, or ``?``."""
    return "".join(SPECIAL.get(character) or _plain(character) for character in " ".join(text.split()))


def _plain(character: str) -> str:
    if character.isascii() or ("À" <= character <= "ÿ" and character.isalpha() and character not in "ÐÞðþ"):
        return character
    near = unicodedata.normalize("NFKD", character).encode("ascii", "ignore").decode()
    return "".join(SPECIAL.get(part, part) for part in near) or "?"


def latex(study: Study, shows: Shown, compared: pd.DataFrame) -> str:
    """One table per card and initial noise.

    Args:
        shows: of ``presentation.shown``. compared: of ``analysis.statistics.comparisons``.
    """
    tables = []
    for noise in noises_of(compared["noise"]):
        own = shows.frame[shows.frame["noise"] == noise]
        for card in study.cards:
            columns = list(dict.fromkeys([*shows.columns(card.metrics, noise), *truths_of(own)]))
            rows = compared[(compared["card"] == card.name) & (compared["noise"] == noise)]
            if len(rows):
                tables.append(card_table(study, card, noise, columns, own, rows))
    return HEAD + "\n" + "\n".join(tables or ["No run has finished.\n"]) + "\n" + FOOT


def card_table(study: Study, card: Card, noise: str, metrics: list[str], frame: pd.DataFrame, compared: pd.DataFrame) -> str:
    """Means with standard errors, one row per experiment of the card: the baseline, the replacements, and the controls.

    The best value of a column is bold only where its difference from the baseline is shown to be for the better, on all references.
    """
    controls = [name for name in (FLOOR, ITSELF, SHUFFLED) if (frame["experiment"] == name).any()]
    there = set(frame["experiment"])
    done = {name for name, _, _ in done_runs(study)}
    chosen = dict.fromkeys([card.baseline, *card.replacements, *controls])
    experiments = [name for name in chosen if name in there or name not in done]  # what is done, but not from this noise, has no row
    found = {
        (experiment, metric): frame_estimate(frame[(frame["experiment"] == experiment) & (frame["metric"] == metric)])
        for experiment in experiments
        for metric in metrics
    }
    bold = {(best_replacement(card, metric, found, compared), metric) for metric in metrics}
    rows = []
    for experiment in experiments:
        cells = [cell(found[experiment, metric], (experiment, metric) in bold) for metric in metrics]
        title_of = label(study, experiment) if experiment in study.experiments else experiment
        name = escape(title_of) + (" (baseline)" if experiment == card.baseline != "baseline" else "")
        rows.append(" & ".join([name, *cells]) + r" \\")
    if len(rows) > 1 and experiments[0] == card.baseline:
        rows.insert(1, r"\midrule")
    if controls:
        rows.insert(-len(controls), r"\midrule")
    anchor = "".join(character if character.isalnum() and character.isascii() else "-" for character in f"{card.path.stem}-{noise}")
    one = all(value.references == 1 for value in found.values() if value is not None)
    over = "trainings or videos of one reference" if one else "references"
    caption = (
        f"{card.name}: {noise} initial noise. Mean over {over} ± standard error. Bold: the best of a column, where its difference from "
        f"{baseline_of(compared)} is shown to be for the better (95 %, Holm-corrected within the card)."
    )
    header = " & ".join(["experiment", *(title(metric) for metric in metrics)]) + r" \\"
    return "\n".join(
        [
            r"\begin{table*}", r"\centering", r"\footnotesize", r"\setlength{\tabcolsep}{3pt}", rf"\caption{{{escape(caption)}}}",
            rf"\label{{tab:{anchor}}}", r"\studyfit{", rf"\begin{{tabular}}{{@{{}}l{'r' * len(metrics)}@{{}}}}", r"\toprule", header,
            r"\midrule", *rows, r"\bottomrule", r"\end{tabular}}", r"\end{table*}", "",
        ]
    )  # fmt: skip


def title(metric: str) -> str:
    """A column's title, on two lines if it is long, with the arrow of what is better."""
    words = heading(metric).split()
    if len(words) < 3:
        return escape(" ".join(words))
    lines = escape(words[0]), escape(" ".join(words[1:]))
    return r"\begin{tabular}[b]{@{}r@{}}" + r" \\ ".join(lines) + r"\end{tabular}"


def cell(value: Estimate | None, bold: bool) -> str:
    """A mean with its error in small print."""
    if value is None:
        return "--"
    mean = f"${number(value.mean)}$"
    error = "" if value.error is None else rf"{{\scriptsize$\,\pm{number(value.error)}$}}"
    return (rf"$\mathbf{{{number(value.mean)}}}$" if bold else mean) + error


def best_replacement(card: Card, metric: str, found: dict[tuple[str, str], Estimate | None], compared: pd.DataFrame) -> str | None:
    """The experiment, of the baseline and the replacements, with the best mean, if it is shown to be better than the baseline."""
    higher = higher_is_better(metric.removesuffix(RAW))
    own = {name: value for name in [card.baseline, *card.replacements] if (value := found.get((name, metric))) is not None}
    most = max((value.references for value in own.values()), default=0)
    values = {name: value.mean for name, value in own.items() if value.references == most}  # means over fewer are of something else
    if higher is None or not values:
        return None
    best = (max if higher else min)(values, key=values.__getitem__)
    rows = compared[(compared["experiment"] == best) & (compared["metric"] == metric)]
    return best if any(tone(str(verdict)) == "better" for verdict in rows["verdict"]) else None
