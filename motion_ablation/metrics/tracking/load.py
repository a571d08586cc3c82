"""Trackers by their names."""

from __future__ import annotations

import re
from functools import cache
from typing import Any

from motion_ablation.metrics.tracking.tracks import TRACKERS, Tracker
from motion_ablation.registry import UnknownName

OPTION = re.compile(r"(?:^|,)([a-z_]+)=(-?\d+(?:\.\d*)?(?:e-?\d+)?)$")
EXAMPLES = "opencv, raft:PATH, cotracker3:PATH, opencv:grid=55,corners=0"


@cache
def load_tracker(name: str) -> Tracker:
    """The tracker of a name: ``NAME`` or ``NAME:PATH`` of its weights; with options ``NAME:grid=55,corners=0`` or ``NAME:PATH,grid=55``.

    There is one object per name, so that all metrics share its passes.

    Raises:
        UnknownName: for no such tracker, or an option that it does not take.
    """
    kind, path, options = split_name(name)
    if kind not in TRACKERS or (path and kind == "opencv"):
        raise UnknownName(f"unknown tracker '{name}'. Write, for example, {EXAMPLES}")
    TRACKERS.check_options(kind, options)
    entry: Any = TRACKERS[kind]
    tracker: Tracker = entry(*[path] if path else [], **options)  # weights come first
    return tracker


def split_name(name: str) -> tuple[str, str, dict[str, int | float]]:
    """A tracker's kind, the path of its weights (empty where none is named), and its options."""
    kind, _, rest = name.partition(":")
    options: dict[str, int | float] = {}
    while found := OPTION.search(rest):
        options[found[1]] = int(found[2]) if found[2].lstrip("-").isdigit() else float(found[2])
        rest = rest[: found.start()]
    return kind, rest, options
