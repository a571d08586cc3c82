"""What on this machine an option of a metric stands for that names a network or files."""

from __future__ import annotations

from pathlib import Path

from motion_ablation.metrics.networks.inception import find_inception, weights_file
from motion_ablation.metrics.tracking.cotracker3 import COTRACKER_FILE, find_cotracker
from motion_ablation.metrics.tracking.load import split_name
from motion_ablation.metrics.tracking.raft import find_raft
from motion_ablation.weights import HOME, MissingWeights, find_folder, fingerprint

NOTHING = ("opencv", "dis", "reference")  # a tracker and a flow without weights; the set that a run brings


def content_of(source: str) -> str:
    """What determines the numbers that come of a source: the fingerprint of its files; its name where it has none, or they are missing.

    Args:
        source: as encoders, features and trackers are named: ``shapes``, ``inception``, ``raft``, ``cotracker3``, also ``NAME:PATH``, and
            trackers with options (``NAME:grid=55``); or a folder, a file, or a hub id.
    """
    kind, path, options = split_name(source)
    try:
        place = place_of(source)
    except MissingWeights:
        return source
    plain = f"{kind}:{path}" if path else kind
    return " ".join([fingerprint(place) if place else plain, *(f"{name}={value}" for name, value in options.items())])


def place_of(source: str) -> Path | None:
    """Where the files of a source are; None where it needs none. Raises :class:`MissingWeights`."""
    kind, path, _ = split_name(source)
    source = f"{kind}:{path}" if path else kind
    if source in NOTHING:
        return None
    if kind == "inception":
        return find_inception(weights_file(path or HOME))
    if kind == "raft":
        return find_raft(Path(path).expanduser() if path else None)
    if kind == "cotracker3":
        return find_cotracker(Path(path).expanduser() if path else HOME / COTRACKER_FILE)
    if Path(source).expanduser().is_file():
        return Path(source).expanduser()
    return find_folder(source, (), "folder", "the metric", source, builtin="shapes/clip")
