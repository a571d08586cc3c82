"""Motion Embeddings: streams of ports, layout, integration and debias, attached to a frozen denoiser."""

from motion_ablation.motion.config import MotionConfig, SiteConfig, StreamConfig
from motion_ablation.motion.embeddings import MotionEmbeddings, read_embedding

__all__ = ["MotionConfig", "MotionEmbeddings", "SiteConfig", "StreamConfig", "read_embedding"]
