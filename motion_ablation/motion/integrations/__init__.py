"""Ways for a motion embedding to enter a feature, one per file."""

from motion_ablation.motion.integrations.base import INTEGRATIONS, Integration

__all__ = ["INTEGRATIONS", "Integration"]
