"""The tables of the axes' pages, from the docstrings of what is registered.

python docs/tables.py
"""

from __future__ import annotations

import re
from pathlib import Path

from motion_ablation.initial_noise import INITIAL_NOISES
from motion_ablation.motion.adapters import ADAPTERS, APPEARANCES
from motion_ablation.motion.debiases import DEBIASES
from motion_ablation.motion.integrations import INTEGRATIONS
from motion_ablation.motion.layouts import LAYOUTS
from motion_ablation.objectives import OBJECTIVES
from motion_ablation.registry import Registry

FOLDER = Path(__file__).parent / "axes"
AXES = {registry.axis: registry for registry in (LAYOUTS, INTEGRATIONS, DEBIASES, ADAPTERS, APPEARANCES, OBJECTIVES, INITIAL_NOISES)}
PLACE = re.compile(r"(<!-- table of every (?P<axis>[a-z ]+): make docs -->\n).*?(\n<!-- end -->)", flags=re.DOTALL)


def table(axis: Registry[object]) -> str:
    """A row per entry: its name with the options it takes, and the first line of its docstring."""
    rows = [f"| {axis.axis} | what it is |", "|---|---|"]
    for name in axis:
        options = ", ".join(axis.options(name))
        meaning = axis.describe(name).replace("``", "`").replace("|", "\\|")
        rows.append(f"| `{name}{f'({options})' if options else ''}` | {meaning} |")
    return "\n".join(rows)


def filled(page: str) -> str:
    """A page with its tables as they should be. Raises ``KeyError`` for a place that names no axis."""
    return PLACE.sub(lambda place: f"{place[1]}{table(AXES[place['axis']])}{place[3]}", page)


if __name__ == "__main__":
    for path in sorted(FOLDER.glob("*.md")):
        path.write_text(filled(path.read_text(encoding="utf-8")), encoding="utf-8")
