"""What there is to run and to combine, as text."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from motion_ablation.backbones import BACKBONES
from motion_ablation.data.world.builtin import builtin, builtin_names
from motion_ablation.initial_noise import INITIAL_NOISES
from motion_ablation.metrics import METRICS
from motion_ablation.motion.adapters import ADAPTERS, APPEARANCES
from motion_ablation.motion.config import ATTENTIONS, PORTS, SIDES, WHEN
from motion_ablation.motion.debiases import DEBIASES
from motion_ablation.motion.integrations import INTEGRATIONS
from motion_ablation.motion.layouts import LAYOUTS
from motion_ablation.objectives import OBJECTIVES
from motion_ablation.registry import Registry
from motion_ablation.study.plan.cards import CardError, first_comment

AXES: dict[str, Registry[Any]] = {
    "layouts (model.motion.*.layout)": LAYOUTS,
    "integrations (model.motion.*.integration)": INTEGRATIONS,
    "debiases (model.motion.*.debias)": DEBIASES,
    "adapters (model.motion.adapter)": ADAPTERS,
    "objectives (model.objective)": OBJECTIVES,
    "appearances (model.appearance)": APPEARANCES,
    "initial noises (data.noises)": INITIAL_NOISES,
    "backbones (model.backbone)": BACKBONES,
    "metrics (evaluation.metrics)": METRICS,
}

# What has no registry, since it names places and times instead of ways.
PLACES = {
    "*.ports": f"any of {', '.join(PORTS)}: the projections that a stream enters",
    "*.side": f"{' or '.join(SIDES)} of those projections",
    "*.shared": "true or false: one embedding for both attentions of a block, or one for each",
    "*.when": f"{', '.join(WHEN)}: when the debias acts",
    "sites.stages": "parts of the network: " + "; ".join(f"{', '.join(BACKBONES[name].stages)} ({name})" for name in BACKBONES),
    "sites.channels": "widest, all, or a list of widths",
    "sites.blocks, sites.depth": "numbers of blocks from 0, or [from, to] as shares of the network's depth; null is all",
    "sites.attentions": f"any of {', '.join(ATTENTIONS)}: the temporal self-attentions of a block",
}


def listing(folder: Path) -> str:
    """Experiments and cards of a folder with their hypotheses, the axes with their entries, and the built-in references.

    Raises:
        CardError: if there is no such folder.
    """
    if not folder.is_dir():
        raise CardError(f"{folder}: no such folder; name the one that holds your experiments: motion-ablation list FOLDER")
    sections = {f"experiments ({folder}/)": _files(folder), f"cards ({folder / 'studies'}/)": _files(folder / "studies")}
    if (folder / "backbones").is_dir():
        sections[f"backbones, to put before an experiment ({folder / 'backbones'}/)"] = _files(folder / "backbones")
    sections["ports and sites (model.motion)"] = list(PLACES.items())
    sections |= {title: [(name, axis.describe(name)) for name in axis] for title, axis in AXES.items()}
    sections["built-in references (builtin:NAME)"] = [(name, builtin(name).caption) for name in builtin_names()]
    return "\n\n".join(_section(title, entries) for title, entries in sections.items())


def _files(folder: Path) -> list[tuple[str, str]]:
    return [(path.stem, first_comment(path)) for path in sorted(folder.glob("*.yaml"))]


def _section(title: str, entries: Sequence[tuple[str, str]]) -> str:
    width = max((len(name) for name, _ in entries), default=0)
    return "\n".join([title, *(f"  {name:<{width}}  {text}".rstrip() for name, text in entries)])
