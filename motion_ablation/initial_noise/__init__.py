"""Initial noises for generation, one per file."""

from motion_ablation.initial_noise.base import INITIAL_NOISES, InitialNoise
from motion_ablation.initial_noise.blend import Blend
from motion_ablation.initial_noise.fft import Fft
from motion_ablation.initial_noise.inverted import Inverted
from motion_ablation.initial_noise.low_frequency import LowFrequency
from motion_ablation.initial_noise.random import Random

__all__ = ["INITIAL_NOISES", "Blend", "Fft", "InitialNoise", "Inverted", "LowFrequency", "Random"]
