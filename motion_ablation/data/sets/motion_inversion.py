"""The set of Motion Inversion (Wang et al. 2024): 22 videos with three prompts each, of which no list is released."""

from __future__ import annotations

from pathlib import Path

from motion_ablation.data.sets.base import SETS, Row, find_video, prompt_table


@SETS.register("motion_inversion")
def motion_inversion(folder: Path) -> list[Row]:
    """Motion Inversion's 22 videos with three prompts each; reads a folder of videos with prompts.csv (video, caption, prompts) in it."""
    rows: list[Row] = []
    for line in prompt_table(folder, ("video", "caption", "prompts")):
        prompts = [prompt.strip() for prompt in line["prompts"].split("|") if prompt.strip()]
        rows.append({"path": find_video(folder, line["video"]), "caption": line["caption"], "prompts": prompts})
    return rows
