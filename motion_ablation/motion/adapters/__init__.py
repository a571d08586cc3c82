"""Trainable changes of a temporal attention's weights, one per file: the literature's other way to learn a motion."""

from motion_ablation.motion.adapters.base import ADAPTERS, PROJECTIONS
from motion_ablation.motion.adapters.temporal_attention import TemporalAttention
from motion_ablation.motion.adapters.temporal_lora import TemporalLora

__all__ = ["ADAPTERS", "PROJECTIONS", "TemporalAttention", "TemporalLora"]
