"""LOVEU-TGVE-2023 (Wu et al. 2023): 76 videos from DAVIS, YouTube and Videvo with four edits each."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from motion_ablation.data.sets.base import SETS, Row
from motion_ablation.data.window import VideoError

NAME, CAPTION = "Video name", "Our GT caption"
EDITS = {
    "style": "Style Change Caption",
    "object": "Object Change Caption",
    "background": "Background Change Caption",
    "multiple": "Multiple Changes Caption",
}
FRAMES = "480p_frames"


@SETS.register("tgve")
def tgve(folder: Path) -> list[Row]:
    """LOVEU-TGVE-2023 as downloaded: its spreadsheet (.xlsx, or saved as .csv) beside DAVIS_480p, youtube_480p and videvo_480p."""
    found = {path.name: path for path in sorted(folder.glob(f"*/{FRAMES}/*")) if path.is_dir()}
    rows: list[Row] = []
    for line in _table(folder):
        name = _text(line.get(NAME))
        caption = _text(line.get(CAPTION))
        if not name or not caption:  # headings and gaps between its three parts
            continue
        if name not in found:
            raise VideoError(f"{folder}: has no frames of '{name}' in any */{FRAMES}/")
        prompts = {kind: text for kind, column in EDITS.items() if (text := _text(line.get(column)))}
        stratum = found[name].parent.parent.name.removesuffix("_480p").lower()
        rows.append({"path": found[name], "caption": caption, "prompts": [*prompts.values()], "kinds": [*prompts], "stratum": stratum})
    return rows


def _table(folder: Path) -> list[dict[str, Any]]:
    files = sorted([*folder.glob("*.csv"), *folder.glob("*.xlsx")], key=lambda file: file.suffix)
    if not files:
        raise VideoError(f"{folder}: has no spreadsheet with the column '{NAME}' (LOVEU-TGVE_2023_data.xlsx, or saved as .csv)")
    try:
        table = pd.read_csv(files[0]) if files[0].suffix == ".csv" else pd.read_excel(files[0])
    except ImportError as error:  # openpyxl
        raise VideoError(f"{files[0]}: cannot be read without openpyxl; run `pip install openpyxl`, or save the sheet as .csv") from error
    missing = [column for column in (NAME, CAPTION, *EDITS.values()) if column not in table.columns]
    if missing:
        raise VideoError(f"{files[0]}: has no column '{missing[0]}'")
    rows: list[dict[str, Any]] = table.to_dict("records")
    return rows


def _text(value: Any) -> str:
    return " ".join(value.split()) if isinstance(value, str) else ""
