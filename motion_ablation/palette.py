"""The words of built-in prompts by which a video can be judged: colours and shapes."""

from __future__ import annotations

COLORS: dict[str, tuple[float, float, float]] = {
    "red": (0.92, 0.10, 0.10),
    "green": (0.10, 0.72, 0.15),
    "blue": (0.12, 0.22, 0.95),
    "yellow": (0.97, 0.92, 0.10),
    "purple": (0.60, 0.10, 0.78),
    "orange": (1.00, 0.52, 0.00),
    "cyan": (0.10, 0.85, 0.92),
    "white": (0.97, 0.97, 0.97),
}
"""Red, green and blue of each colour, in ``[0, 1]``."""
SHAPES = ("circle", "square", "triangle", "star", "ring", "cross")
