"""Ablation studies of motion inversion for video diffusion models.

A frozen text-to-video backbone, a small trainable motion embedding attached to its temporal attentions, and every choice
in between as a registry entry that one line of YAML can swap. Importing the package is cheap: torch and the model
libraries are loaded by the subpackages that use them.
"""

__all__ = ["__version__"]

__version__ = "0.1.0"
