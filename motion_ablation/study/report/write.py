"""Everything a study leaves for its reader: tables, scores, figures, videos side by side, a page, and a run in TensorBoard."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image
from torch.utils.tensorboard import SummaryWriter

from motion_ablation.files import replacing
from motion_ablation.study.analysis.controls import controls
from motion_ablation.study.analysis.statistics import comparisons
from motion_ablation.study.plan.study import Study
from motion_ablation.study.report.figures import save, styled
from motion_ablation.study.report.filmstrips import filmstrips
from motion_ablation.study.report.forest import drawn, forest
from motion_ablation.study.report.html import html
from motion_ablation.study.report.latex import latex
from motion_ablation.study.report.presentation import shown
from motion_ablation.study.report.sheet import gather, kept_runs, rows_of, write_sheets
from motion_ablation.study.report.table import table
from motion_ablation.study.results import noises_of, scores_csv, scores_frame

TENSORBOARD = "study"
FIGURES = "figures"


def write_report(study: Study) -> str:
    """Writes the report into the study's folder, runs nothing, and returns ``table.md``.

    ``report.html`` (all of it, in one file that needs no network), ``table.md``, ``table.tex``, ``scores.csv``, ``scores.parquet``,
    ``figures/`` (forest plots and frames over time, as PNG and PDF), ``sheets/``, and the TensorBoard run ``study``.
    """
    frame = scores_frame(study)
    compared = comparisons(study, frame)
    shows = shown(study, frame, controls(study, frame))
    text = table(study, compared, shows)
    written = {
        "table.md": text,
        "table.tex": latex(study, shows, compared),
        "scores.csv": scores_csv(study),
        "report.html": html(study, shows, compared),
    }
    for name, content in written.items():
        with replacing(study.folder / name) as part:
            part.write_text(content, encoding="utf-8")
    with replacing(study.folder / "scores.parquet") as part:
        frame.to_parquet(part, index=False)
    figures = write_figures(study, shows.comparisons(compared))
    write_sheets(study)
    _write_tensorboard(study.folder / TENSORBOARD, text, figures)
    return text


def write_figures(study: Study, compared: pd.DataFrame) -> list[Path]:
    """Writes ``figures/forest-CARD-NOISE`` and ``figures/frames-REFERENCE-NOISE`` (the first prompt and seed), each as PNG and PDF."""
    folder = study.folder / FIGURES
    shutil.rmtree(folder, ignore_errors=True)
    written: dict[Path, list[Path]] = {}
    with styled():
        for card in study.cards:
            for noise in noises_of(compared["noise"]):
                rows = drawn(compared[(compared["card"] == card.name) & (compared["noise"] == noise)])
                if len(rows):
                    stem = folder / f"forest-{card.path.stem}-{noise}"
                    written[stem] = save(forest(rows), stem)
        kept = kept_runs(study)
        for row in rows_of(study, kept):
            stem = folder / f"frames-{row.reference}-{row.noise}"
            videos = {} if stem in written else gather(study, kept, row)[0]
            if videos:
                written[stem] = save(filmstrips(videos, row), stem)
    return [path for paths in written.values() for path in paths]


def _write_tensorboard(folder: Path, text: str, figures: list[Path]) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    with SummaryWriter(str(folder)) as writer:
        writer.add_text("table", text)
        for path in figures:
            if path.suffix == ".png" and path.stem.startswith("forest"):
                with Image.open(path) as image:
                    writer.add_image(path.stem, np.asarray(image.convert("RGB")), dataformats="HWC")
