"""The calibration as a folder: ``report.md``, ``report.json``, ``rungs.csv`` and figures."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from math import isnan
from pathlib import Path
from typing import Any

from rich.progress import track

from motion_ablation.evaluation.calibration.broken import KINDS, beats_good, score_broken
from motion_ablation.evaluation.calibration.figures import draw_bias, draw_cases, draw_ladders
from motion_ablation.evaluation.calibration.held_out import DAMAGES, HELD_OUT, SPINS
from motion_ablation.evaluation.calibration.ladders import REFERENCES
from motion_ablation.evaluation.calibration.measure import (
    TARGETS,
    Row,
    rank_appearance,
    rank_cases,
    rank_motion,
    rank_text,
    sensitivity,
    set_bias,
)
from motion_ablation.evaluation.calibration.robust import rank_held_out, summary
from motion_ablation.files import replacing, write_json
from motion_ablation.metrics.motion_fidelity import PROTOCOLS

ABOUT = """\
# Metrics against the truth

Made by `motion-ablation calibrate` on the built-in world, where the motion of every video is known.

**Motion ladders.** For each reference and appearance, up to 18 videos whose motion departs from the reference's by a known amount:
right, perturbed (a trembling object, four sizes), slower (three speeds), delayed (three times), turned (four angles), mirrored,
opposite, none. The true error is the mean distance, in half frames, between corresponding points of the two motions, half of it
object, half camera. *Spearman* is the rank correlation of score and true error along a ladder, averaged over ladders, with a 95 % t
interval over references; *worst* is that of the worst ladder. *Right − none* and *right − opposite* are mean differences of scores,
and in brackets the same in standard errors over ladders: what it takes to tell a study's rows apart. A metric that is not meant to see
motion (consistency, leakage) should rank these ladders badly; that is no fault of it. Distances (`ftd`, `track_chamfer`, `flow_error`) rise
with the error, so their signs are the other way round.

The thresholds of `calibrated` and of the tracker were chosen on these references, and the error above has the metric's own
structure. The next section has neither.
"""
HELD = """\
**Held-out references.** Ten motions that no choice was made on: swings, shrinking, a fall that speeds up, a small and a large
object, an object under a moving camera, a zoom, two spins. One other look each, the same kinds of departure. The error is another:
the mean distance on screen of 25 points of object and world, each where it is seen, nothing aligned or set apart. Damage is done to the
scored videos only. *Spearman* with its 95 % t interval over references; mean scores of the right, the absent and the opposite
motion; *withheld* is the share of videos that lost 90 % of their tracks or more and so have no score. `ftd`, `track_chamfer` and
`flow_error` are distances: the good ones have a positive *Spearman*, and 0 for the right motion.
"""
BROKEN = """\
**Broken videos.** The mean of every metric over videos that are broken in a known way, two for each of {count} references, beside a good
one: the right motion in the prompt's look. *Opposite*: that motion negated. *Parked*: the prompt's object standing in the middle.
*Swapped*: colours of object and background exchanged. *Copy*: the reference itself. Bold: no worse than the good video, so the metric
alone would not tell. –: withheld, as tracks are lost, or not defined.
"""


def calibrate(
    output: str | Path,
    references: Sequence[str] = REFERENCES,
    looks: int = 3,
    trackers: Sequence[str] = ("opencv",),
    frames: int = 16,
    quiet: bool = False,
    held_out: Sequence[str] = tuple(HELD_OUT),
    damages: Sequence[str] = tuple(DAMAGES),
) -> dict[str, Any]:
    """Measures everything, writes the folder and returns what ``report.json`` holds.

    Args:
        references: built-in references of known motion. looks: appearances of each, 2 or more. trackers: the first is the default's.
        frames: of every video of the ladders, 8 or more. held_out: names in ``held_out.HELD_OUT``. damages: names in ``held_out.DAMAGES``.
    """
    if looks < 2:
        raise ValueError(f"looks must be at least 2 (the reference's own appearance and another), not {looks}")
    if frames < 8:
        raise ValueError(f"frames must be at least 8, not {frames}")
    folder = Path(output)
    folder.mkdir(parents=True, exist_ok=True)

    def bar(items: Any) -> Any:
        return track(items, "motion ladders", disable=quiet)

    rungs, motion = rank_motion(references, looks, trackers, frames, bar)
    held = rank_held_out(held_out, damages, frames, bar)
    found: dict[str, Any] = {
        "settings": {"references": list(references), "looks": looks, "trackers": list(trackers), "frames": frames},
        "targets": TARGETS,
        "motion": motion,
        "held_out": held,
        "broken": score_broken([*references, *(name for name in held_out if name not in SPINS)], frames),
        "cases": rank_cases(),
        "text_similarity": rank_text(),
        "appearance_leakage": rank_appearance(),
        "sensitivity": sensitivity(references, trackers, frames),
        "set_bias": set_bias(),
    }
    write_json(folder / "report.json", found)
    with replacing(folder / "rungs.csv") as part, part.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rungs[0]))
        writer.writeheader()
        writer.writerows(rungs)
    draw_cases(found["cases"], folder / "cases.png")
    draw_ladders(rungs, folder / "ladders.png")
    draw_bias(found["set_bias"], folder / "set_bias.png")
    with replacing(folder / "report.md") as part:
        part.write_text(as_markdown(found), encoding="utf-8")
    return found


def as_markdown(found: dict[str, Any]) -> str:
    """The report as text; pictures are named relative to its folder."""
    motion = [
        [r["metric"], _with_interval(r), f"{r['worst']:+.3f} ({r['worst_at']})"]
        + [f"{r[f'right_minus_{other}']:+.3f} ({r[f'separation_{other}']:+.1f})" for other in ("none", "opposite")]
        for r in found["motion"]
    ]
    cases = [[r["case"], *(f"{r[f'{p} {w}']:+.2f}" for p in PROTOCOLS for w in ("same", "other"))] for r in found["cases"]]
    levels = [
        [name, what, *(f"{found[name]['means'][str(level)]:.3f}" for level in range(4)), f"{found[name]['spearman']:+.3f}"]
        for name, what in (
            ("text_similarity", "wrong words in the caption"),
            ("appearance_leakage", "attributes shared with the reference"),
        )
    ]
    sizes = [
        [str(r["frames"]), str(r["size"]), *(f"{r[name]:+.3f}" for name in ("right", "none", "opposite"))] for r in found["sensitivity"]
    ]
    bias = [[str(r["n"]), f"{r['fid']:.4f} ± {r['fid_sd']:.4f}", f"{r['kid']:+.5f} ± {r['kid_sd']:.5f}"] for r in found["set_bias"]]
    return "\n\n".join([
        ABOUT.strip(),
        f"References: {', '.join(found['settings']['references'])}; {found['settings']['looks']} appearances each. {verdict(found)}",
        _grid(["metric", "Spearman", "worst", "right − none", "right − opposite"], motion),
        "![Score against true error](ladders.png)",
        HELD.strip(),
        held_out_table(found["held_out"]),
        BROKEN.format(count=found["broken"][0]["references"]).strip(),
        broken_table(found["broken"]),
        "**Cases that break the usual formula**, on synthetic tracks with a little noise (625 points, 16 frames): the score of the same "
        "motion again, and of another one. A metric that works gives the first a high and the second a low number.",
        _grid(["case", *(f"{p}: {w}" for p in PROTOCOLS for w in ("same", "other"))], cases),
        "![The cases](cases.png)",
        "**Text and appearance.** Mean score by the number of attributes (shape, colour, background), and the mean over videos of the rank "
        "correlation along their four steps.",
        _grid(["metric", "counted", "0", "1", "2", "3", "Spearman"], levels),
        "**Motion fidelity under another sampling**: the same motions in another look, drawn in other sizes and numbers of frames, "
        f"against a reference of {found['settings']['frames']} frames of 64 pixels.",
        _grid(["frames", "pixels", "right", "none", "opposite"], sizes),
        f"**FID and KID of two samples of one distribution** (true distance 0), n frames each, {found['set_bias'][0]['dimension']} feature "
        "dimensions, five draws: FID's bias falls with n, KID has none.",
        _grid(["n", "FID", "KID"], bias),
        "![FID and KID against n](set_bias.png)",
    ]) + "\n"  # fmt: skip


def held_out_table(rows: list[Row]) -> str:
    """A line per damage, protocol and group of references."""
    lines = [
        [r["damage"], r["protocol"], f"{r['references']} ({r['count']})", _with_interval(r)]
        + [_number(r[name]) for name in ("right", "none", "opposite")]
        + [f"{r['withheld']:.0%}"]
        for r in summary(rows)
    ]
    return _grid(["damage", "protocol", "references", "Spearman", "right", "none", "opposite", "withheld"], lines)


def broken_table(rows: list[Row]) -> str:
    """A line per metric, a column per kind of video."""
    lines = []
    for row in rows:
        cells = [f"**{_number(row[kind])}**" if kind != "good" and beats_good(row, kind) else _number(row[kind]) for kind in KINDS]
        lines.append([row["metric"], *cells])
    return _grid(["metric", *KINDS], lines)


def _with_interval(row: Row) -> str:
    around = "" if isnan(row["low"]) else f" [{max(row['low'], -1):+.2f}, {min(row['high'], 1):+.2f}]"
    return f"{row['spearman']:+.3f}{around}"


def _number(value: float) -> str:
    return "–" if isnan(value) else f"{value:+.3f}"


def verdict(found: dict[str, Any]) -> str:
    """Whether the two default metrics reach their targets, in words."""
    reached = {"motion_fidelity": abs(found["motion"][0]["spearman"]), "text_similarity": abs(found["text_similarity"]["spearman"])}
    return " ".join(
        f"{name}: |Spearman| {value:.3f}, target {TARGETS[name]:.2f}: {'reached' if value >= TARGETS[name] else 'NOT reached'}."
        for name, value in reached.items()
    )


def _grid(header: list[str], rows: list[list[str]]) -> str:
    lines = [header, ["---"] + ["---:"] * (len(header) - 1), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
