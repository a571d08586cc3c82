"""What comes with the package: its documentation, and experiments and cards, found by name where there is no file of that name."""

from __future__ import annotations

from pathlib import Path

FOLDER = Path(__file__).parents[1] / "experiments"
DOCS = Path(__file__).parents[1] / "docs"


def find_file(name: str | Path, *folders: str) -> Path:
    """The YAML file that is meant: the path itself where there is one, else the shipped file of this name.

    ``mqk_partial``, ``mqk_partial.yaml`` and ``experiments/mqk_partial.yaml`` are one file. What is not found comes back as it is.

    Args:
        folders: of ``experiments/`` to look in, in this order (itself, then ``backbones``).
    """
    path = Path(name).expanduser()
    if path.exists() or path.is_absolute():
        return path
    inside = Path(*path.parts[1:]) if path.parts[:1] == ("experiments",) else path
    file = inside if inside.suffix else inside.with_name(f"{inside.name}.yaml")
    return next((found for folder in folders or ("", "backbones") if (found := FOLDER / folder / file).is_file()), path)
