"""What there is to run and to combine, as text."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from motion_ablation.backbones import BACKBONES
from motion_ablation.data.builtin import builtin, builtin_names
from motion_ablation.initial_noise import INITIAL_NOISES
from motion_ablation.metrics import METRICS
from motion_ablation.motion.adapters import ADAPTERS
from motion_ablation.motion.debiases import DEBIASES
from motion_ablation.motion.integrations import INTEGRATIONS
from motion_ablation.motion.layouts import LAYOUTS
from motion_ablation.objectives import OBJECTIVES
from motion_ablation.registry import Registry
from motion_ablation.study.cards import CardError, first_comment

AXES: dict[str, Registry[Any]] = {
    "layouts (model.motion.*.layout)": LAYOUTS,
    "integrations (model.motion.*.integration)": INTEGRATIONS,
    "debiases (model.motion.*.debias)": DEBIASES,
    "adapters (model.motion.adapter)": ADAPTERS,
    "objectives (model.objective)": OBJECTIVES,
    "initial noises (data.noises)": INITIAL_NOISES,
    "backbones (model.backbone)": BACKBONES,
    "metrics (trainer.callbacks)": METRICS,
}


def listing(folder: Path) -> str:
    """Experiments and cards of a folder with their hypotheses, the axes with their entries, and the built-in references.

    Raises:
        CardError: if there is no such folder.
    """
    if not folder.is_dir():
        raise CardError(f"{folder}: no such folder; name the one that holds your experiments: motion-ablation list FOLDER")
    sections = {f"experiments ({folder}/)": _files(folder), f"cards ({folder / 'studies'}/)": _files(folder / "studies")}
    sections |= {title: [(name, axis.describe(name)) for name in axis] for title, axis in AXES.items()}
    sections["built-in references (builtin:NAME)"] = [(name, builtin(name).caption) for name in builtin_names()]
    return "\n\n".join(_section(title, entries) for title, entries in sections.items())


def _files(folder: Path) -> list[tuple[str, str]]:
    return [(path.stem, first_comment(path)) for path in sorted(folder.glob("*.yaml"))]


def _section(title: str, entries: Iterable[tuple[str, str]]) -> str:
    return "\n".join([title, *(f"  {name:<22}{text}".rstrip() for name, text in entries)])
