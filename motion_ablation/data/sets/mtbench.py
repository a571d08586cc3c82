"""MTBench (DeT, Shi et al. 2025): videos in three strata of difficulty, with evaluation prompts, masks and trajectories."""

from __future__ import annotations

from pathlib import Path

from motion_ablation.data.sets.base import SETS, Row, find_video
from motion_ablation.data.text import read_text

PROMPTS = "eval_prompts.txt"


@SETS.register("mtbench")
def mtbench(folder: Path) -> list[Row]:
    """MTBench as downloaded: MTBench_{easy,medium,hard}/NAME with videos, prompts.txt, eval_prompts.txt, masks, trajectories."""
    return [_row(file.parent) for file in sorted(folder.rglob(PROMPTS))]


def _row(own: Path) -> Row:
    head, _, stratum = own.parent.name.rpartition("_")
    listed = {name: _lines(own / f"{name}.txt") for name in ("videos", "prompts", "masks", "trajectories")}
    video = listed["videos"][0] if listed["videos"] else f"videos/{own.name}.mp4"
    return {
        "path": find_video(own, video),
        "name": own.name,
        "caption": listed["prompts"][0] if listed["prompts"] else "",
        "prompts": _lines(own / PROMPTS),
        "stratum": stratum.lower() if head else "",
        "mask": _first(own, [*listed["masks"][:1], f"masks/{own.name}", "masks"]),
        "trajectories": _first(own, [*listed["trajectories"][:1], f"trajectories/{own.name}.pth"]),
    }


def _lines(file: Path) -> list[str]:
    return [line.strip() for line in read_text(file).splitlines() if line.strip()] if file.is_file() else []


def _first(own: Path, names: list[str]) -> Path | None:
    return next((own / name for name in names if (own / name).exists()), None)
