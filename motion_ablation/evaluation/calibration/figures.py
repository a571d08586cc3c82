"""The calibration's figures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

from motion_ablation.evaluation.calibration.measure import Row
from motion_ablation.files import replacing
from motion_ablation.metrics.motion_fidelity import PROTOCOLS


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
