"""Everything a study leaves for its reader: tables, scores, comparison sheets, and a run in TensorBoard."""

from __future__ import annotations

import shutil
from pathlib import Path

from torch.utils.tensorboard import SummaryWriter

from motion_ablation.data.video import replacing
from motion_ablation.study.plan import Study
from motion_ablation.study.sheet import write_sheets
from motion_ablation.study.table import scores_csv, table

TENSORBOARD = "study"


def write_report(study: Study) -> str:
    """Writes ``table.md``, ``scores.csv``, ``sheets/`` and the TensorBoard run ``study``; returns the Markdown. Runs nothing."""
    text = table(study)
    for name, content in (("table.md", text), ("scores.csv", scores_csv(study))):
        with replacing(study.folder / name) as part:
            part.write_text(content, encoding="utf-8")
    write_sheets(study)
    _write_tensorboard(study.folder / TENSORBOARD, text)
    return text


def _write_tensorboard(folder: Path, text: str) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    with SummaryWriter(str(folder)) as writer:
        writer.add_text("table", text)
