"""Everything a study leaves for its reader: tables, scores, figures, videos side by side, a page, and a run in TensorBoard."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from PIL import Image
from torch.utils.tensorboard import SummaryWriter

from motion_ablation import __version__
from motion_ablation.files import replacing
from motion_ablation.study.analysis.controls import ITSELF, PARKED, SHUFFLED
from motion_ablation.study.plan.study import Study
from motion_ablation.study.report import formats
from motion_ablation.study.report.build import build_report
from motion_ablation.study.report.comparison import MARK
from motion_ablation.study.report.figures import curve_drawings, forest_drawings, write_figures
from motion_ablation.study.report.model import Report
from motion_ablation.study.report.videos import strips, write_sheets
from motion_ablation.study.results import Results

FILTERS = ("number", "coarse", "signed", "probability", "heading", "anchor", "paragraphs", "aligned", "latex")  # of formats.py
# Of LaTeX templates, where braces are LaTeX's own.
BRACKETS = {"block": ("<%", "%>"), "variable": ("<<", ">>"), "comment": ("<#", "#>")}
TEX = {f"{kind}_{end}_string": text for kind, pair in BRACKETS.items() for end, text in zip(("start", "end"), pair, strict=True)}


def write_report(study: Study) -> Report:
    """Writes the report into the study's folder, runs nothing, and returns it.

    ``report.html`` (all of it, in one file that needs no network), ``table.md``, ``table.tex``, ``scores.csv``, ``scores.parquet``,
    ``figures/`` (forest plots and frames over time, as PNG and PDF), ``sheets/``, and the TensorBoard run ``study``.
    """
    report = build_report(study)
    text, results = markdown(report), Results(study)
    written = {"table.md": text, "table.tex": latex(report), "scores.csv": results.csv(), "report.html": html(report)}
    for name, content in written.items():
        with replacing(study.folder / name) as part:
            part.write_text(content, encoding="utf-8")
    with replacing(study.folder / "scores.parquet") as part:
        results.frame.to_parquet(part, index=False)
    figures = write_figures(report, study.folder / "figures")
    write_sheets(report.films, study.folder / "sheets")
    _write_tensorboard(study.folder / "study", text, figures)
    return report


def markdown(report: Report) -> str:
    """``table.md``."""
    return re.sub(r"\n{3,}", "\n\n", _printed("table.md.jinja", report=report, notes=_notes())).strip() + "\n"


def latex(report: Report) -> str:
    """``table.tex``: booktabs tables, which compile alone and can be put into a document with ``\\input``."""
    return _printed("table.tex.jinja", TEX, report=report)


def html(report: Report) -> str:
    """``report.html``: one page that needs nothing beside it: no network, no script, no other file."""
    key, curves = curve_drawings(report)
    pictures = {"forests": forest_drawings, "key": key, "curves": curves, "films": strips(report.films)}
    # Everything that a user can name (prompts, experiments, cards, references, errors) is escaped by the template.
    return _printed("report.html.jinja", {"autoescape": True}, report=report, notes=_notes(), version=__version__, **pictures)


def _notes() -> str:
    """How to read the tables, as Markdown."""
    return _printed("notes.md.jinja", itself=ITSELF, shuffled=SHUFFLED, parked=PARKED, mark=MARK)


def _printed(template: str, options: dict[str, Any] | None = None, **context: Any) -> str:
    pages = Environment(
        loader=PackageLoader("motion_ablation.study.report"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        **(options or {}),
    )
    pages.filters.update({name: getattr(formats, name) for name in FILTERS})
    return pages.get_template(template).render(**context)


def _write_tensorboard(folder: Path, text: str, figures: list[Path]) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    with SummaryWriter(str(folder)) as writer:
        writer.add_text("table", text)
        for path in figures:
            if path.suffix == ".png" and path.stem.startswith("forest"):
                with Image.open(path) as image:
                    writer.add_image(path.stem, np.asarray(image.convert("RGB")), dataformats="HWC")
