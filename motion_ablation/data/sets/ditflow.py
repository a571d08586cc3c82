"""DiTFlow's set (Pondaven et al. 2025): 50 DAVIS clips, each with its caption, a prompt of another subject, and one of another scene."""

from __future__ import annotations

from pathlib import Path

from motion_ablation.data.sets.base import SETS, Row, find_video, prompt_table
from motion_ablation.data.sets.davis import frames_of, mask_of

KINDS = ("caption", "subject", "scene")


@SETS.register("ditflow")
def ditflow(folder: Path) -> list[Row]:
    """DiTFlow's 50 DAVIS clips with three prompts each; reads a DAVIS folder with prompts.csv (video, caption, subject, scene) in it."""
    rows: list[Row] = []
    for line in prompt_table(folder, ("video", *KINDS)):
        path = find_video(frames_of(folder), line["video"])
        prompts = [line[kind] for kind in KINDS]
        rows.append({"path": path, "caption": line["caption"], "prompts": prompts, "kinds": list(KINDS), "mask": mask_of(path)})
    return rows
