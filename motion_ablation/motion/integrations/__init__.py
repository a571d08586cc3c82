"""Ways for a motion embedding to enter a feature, one per file."""

from motion_ablation.motion.integrations.add import Add
from motion_ablation.motion.integrations.base import INTEGRATIONS, Integration
from motion_ablation.motion.integrations.concat_channel import ConcatChannel
from motion_ablation.motion.integrations.concat_token import ConcatToken
from motion_ablation.motion.integrations.film import Film
from motion_ablation.motion.integrations.gated import Gated
from motion_ablation.motion.integrations.multiply import Multiply

__all__ = ["INTEGRATIONS", "Add", "ConcatChannel", "ConcatToken", "Film", "Gated", "Integration", "Multiply"]
