"""Subject and background consistency in one number, as tables of motion transfer take it from VBench (Huang et al. 2024)."""

from __future__ import annotations

from torch import Tensor

from motion_ablation.metrics.background_consistency import vbench_consistency
from motion_ablation.metrics.base import METRICS, PerSampleMetric, check_frames
from motion_ablation.metrics.networks.encoders import ImageEncoder, embed_videos, load_encoder
from motion_ablation.metrics.networks.vision import DINO, load_vision, vision_folder

BUILTIN = "shapes"


@METRICS.register("subject_background")
class SubjectBackground(PerSampleMetric):
    """Mean of VBench's subject consistency (DINO) and background consistency (CLIP), in [0, 1]; higher is better, a frozen video scores 1.

    Args:
        encoder: CLIP, as of ``background_consistency``. features: the subject's network, as of ``subject_consistency``. None is VBench's,
            DINO ViT-B/16; but where ``encoder`` is the built-in CLIP, which knows the built-in world, it is that one too.

    Raises:
        MissingWeights: if DINO, unnamed, is not on this machine.
    """

    name = "subject_background"
    reads = ("frames",)
    sources = ("encoder", "features")
    higher_is_better = True
    range = (0.0, 1.0)
    unit = "cosine"
    frames_needed = 2

    def __init__(self, encoder: str | ImageEncoder = BUILTIN, features: str | ImageEncoder | None = None) -> None:
        super().__init__()
        scene = load_encoder(encoder) if isinstance(encoder, str) else encoder
        if features is None and encoder != BUILTIN:
            vision_folder(DINO)
            features = DINO
        self._encoders = (load_vision(features) if isinstance(features, str) else features or scene, scene)

    @property
    def protocol(self) -> dict[str, object]:
        subject, scene = self._encoders
        formula = (
            "mean of VBench's subject and background consistency, each the mean over later frames of (cos with the first + cos with the "
        )
        formula += "previous) / 2, clamped at 0"
        return {"subject": subject.name, "background": scene.name, "resize": f"{subject.resize}; {scene.resize}", "formula": formula}

    def score(self, frames: Tensor) -> Tensor:
        """``(b, f, 3, h, w)``, f >= 2, to ``(b,)``."""
        frames = check_frames(frames)
        subject, background = (vbench_consistency(embed_videos(encoder, frames)) for encoder in self._encoders)
        return (subject + background) / 2
