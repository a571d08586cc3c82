"""Trainable changes of the frozen weights, one per file: the literature's other way to learn a motion, and what learns the appearance."""

from motion_ablation.motion.adapters.base import ADAPTERS, APPEARANCES, PROJECTIONS, Adapter, Appearance
from motion_ablation.motion.adapters.spatial_lora import SpatialLora
from motion_ablation.motion.adapters.temporal_attention import TemporalAttention
from motion_ablation.motion.adapters.temporal_lora import TemporalLora

__all__ = ["ADAPTERS", "APPEARANCES", "PROJECTIONS", "Adapter", "Appearance", "SpatialLora", "TemporalAttention", "TemporalLora"]
