"""Ways for a motion embedding to enter a feature, one per file."""

from motion_ablation.motion.integrations.add import Add
from motion_ablation.motion.integrations.base import INTEGRATIONS, Integration
from motion_ablation.motion.integrations.concat import Concat
from motion_ablation.motion.integrations.multiply import Multiply

__all__ = ["INTEGRATIONS", "Add", "Concat", "Integration", "Multiply"]
