"""Initial noises for generation, one per file."""

from motion_ablation.initial_noise.base import INITIAL_NOISES, InitialNoise

__all__ = ["INITIAL_NOISES", "InitialNoise"]
