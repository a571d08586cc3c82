"""Ablation studies of motion inversion for video diffusion models.

A frozen text-to-video backbone, a small trainable motion embedding attached to its temporal attentions, and every choice
in between as a registry entry that one line of YAML can swap. Importing the package is cheap: torch and the model
libraries are loaded by the subpackages that use them, and by ``attach`` and ``MotionEmbeddings`` when they are first asked for.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from motion_ablation.motion import MotionEmbeddings
    from motion_ablation.pipelines import attach

__all__ = ["MotionEmbeddings", "__version__", "attach"]

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    if name == "attach":
        from motion_ablation.pipelines import attach

        return attach
    if name == "MotionEmbeddings":
        from motion_ablation.motion import MotionEmbeddings

        return MotionEmbeddings
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
