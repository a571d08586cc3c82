"""The calibration as a folder: ``report.md``, ``report.json``, ``rungs.csv`` and figures."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from rich.progress import track

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
from motion_ablation.files import replacing, write_json
from motion_ablation.metrics.motion_fidelity import PROTOCOLS

ABOUT = """\
# Metrics against the truth

Made by `motion-ablation calibrate` on the built-in world, where the motion of every video is known.

**Motion ladders.** For each reference and appearance, up to 18 videos whose motion departs from the reference's by a known amount:
right, perturbed (a trembling object, four sizes), slower (three speeds), delayed (three times), turned (four angles), mirrored,
opposite, none. The true error is the mean distance, in half frames, between corresponding points of the two motions, half of it
object, half camera. *Spearman* is the rank correlation of score and true error along a ladder, averaged over ladders; *worst* is
that of the worst ladder. *Right − none* and *right − opposite* are mean differences of scores, and in brackets the same in
standard errors over ladders: what it takes to tell a study's rows apart. A metric that is not meant to see motion (consistency,
leakage) should rank these ladders badly; that is no fault of it.
"""


def calibrate(
    output: str | Path,
    references: Sequence[str] = REFERENCES,
    looks: int = 3,
    trackers: Sequence[str] = ("opencv",),
    frames: int = 16,
    quiet: bool = False,
) -> dict[str, Any]:
    """Measures everything, writes the folder and returns what ``report.json`` holds.

    Args:
        references: built-in references of known motion. looks: appearances of each, 2 or more. trackers: the first is the default's.
        frames: of every video of the ladders, 8 or more.
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
    found: dict[str, Any] = {
        "settings": {"references": list(references), "looks": looks, "trackers": list(trackers), "frames": frames},
        "targets": TARGETS,
        "motion": motion,
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
        [r["metric"], f"{r['spearman']:+.3f}", f"{r['worst']:+.3f} ({r['worst_at']})"]
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


def _save(figure: Any, path: Path) -> None:
    with replacing(path) as part:
        figure.savefig(part, dpi=130, bbox_inches="tight", format="png")
    plt.close(figure)


def draw_ladders(rungs: list[Row], path: Path) -> None:
    """Score against true error, one panel per protocol, one colour per reference; hollow marks wear another look."""
    labels = [label for label in rungs[0] if label.startswith("motion_fidelity") and "(" not in label]
    figure, axes = plt.subplots(1, len(labels), figsize=(4.2 * len(labels), 3.6), squeeze=False)
    references = list(dict.fromkeys(row["reference"] for row in rungs))
    for panel, label in zip(axes[0], labels, strict=True):
        for number, reference in enumerate(references):
            for own in (True, False):
                rows = [row for row in rungs if row["reference"] == reference and (row["look"] == 0) == own]
                face = f"C{number}" if own else "none"
                panel.scatter([r["error"] for r in rows], [r[label] for r in rows], s=18, facecolors=face, edgecolors=f"C{number}",
                              label=reference if own else None)  # fmt: skip
        panel.set(
            title=label.replace("motion_fidelity", "").strip() or "calibrated", xlabel="true motion error (half frames)", ylim=(-1.05, 1.05)
        )
        panel.grid(alpha=0.3)
    axes[0][0].set_ylabel("motion fidelity")
    axes[0][-1].legend(fontsize=7, title="filled: same look", title_fontsize=7)
    _save(figure, path)


def draw_cases(cases: list[Row], path: Path) -> None:
    """Same against other motion, as pairs of bars per protocol."""
    figure, axes = plt.subplots(1, len(PROTOCOLS), figsize=(3.6 * len(PROTOCOLS), 0.42 * len(cases) + 1.2), sharey=True)
    places = range(len(cases))
    for panel, protocol in zip(axes, PROTOCOLS, strict=True):
        panel.barh([p - 0.2 for p in places], [case[f"{protocol} same"] for case in cases], 0.38, label="the same motion again")
        panel.barh([p + 0.2 for p in places], [case[f"{protocol} other"] for case in cases], 0.38, label="the other motion")
        panel.set(title=protocol, xlim=(-1.05, 1.05))
        panel.axvline(0, color="k", lw=0.6)
    axes[0].set_yticks(list(places), [case["case"] for case in cases])
    axes[0].invert_yaxis()
    figure.legend(*axes[0].get_legend_handles_labels(), loc="lower center", ncols=2, bbox_to_anchor=(0.5, -0.06), frameon=False)
    _save(figure, path)


def draw_bias(rows: list[Row], path: Path) -> None:
    """FID and KID of two samples of one distribution against their size."""
    figure, axes = plt.subplots(1, 2, figsize=(7.5, 2.8))
    for panel, name in zip(axes, ("fid", "kid"), strict=True):
        panel.errorbar([r["n"] for r in rows], [r[name] for r in rows], [r[f"{name}_sd"] for r in rows], marker="o", capsize=3)
        panel.axhline(0, color="k", lw=0.6)
        panel.set(title=name.upper(), xlabel="n frames per set", xscale="log")
    _save(figure, path)
