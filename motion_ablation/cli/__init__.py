"""The two commands, ``lightning`` and ``motion-ablation``."""

from motion_ablation.cli.lightning import main

__all__ = ["main"]
