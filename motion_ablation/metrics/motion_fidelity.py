"""Motion fidelity: whether a video moves as its reference does, in four named protocols."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from motion_ablation.metrics.base import METRICS
from motion_ablation.metrics.calibrated_motion import STATIC, agreement, motions
from motion_ablation.metrics.track_metric import MOST_LOST, Judged, TrackMetric
from motion_ablation.metrics.tracking.tracks import Tracker, Tracks, common_frames

STILL = 2e-3
PROTOCOLS = {
    "calibrated": "displacements across 1/8, 1/4, 1/2 of the clip agree in direction, speed and place; camera (homography) apart",
    "two_way": "best track correlation, both ways, halved (DMT's formula); a step of length 0 counts 0; steps that are not seen left out",
    "two_way_static": "two_way, but steps shorter than static have no direction: two such steps correlate 1, one with a longer 0",
    "dmt": "best track correlation, one way, same index less one (DMT's released script); a step of length 0 counts 0",
}
THRESHOLDS = {"calibrated": STATIC, "two_way_static": STILL}
"""The protocols that take steps below a length for tracking noise, in half short sides."""


def motion_fidelity(generated: Tracks, source: Tracks, static: float = 0.0) -> Tensor:
    """The two-way motion fidelity of Yatim et al. 2023 (DMT), halved to ``[-1, 1]``.

    The correlation of two tracks is the mean, over the steps between frames, of the cosine of their displacements. The score is half the
    sum of two means: over generated tracks of the best correlation with a source track, and over source tracks of the best with a
    generated one. What the formula leaves open:

    * the cosine of a displacement of length 0 is 0/0: it counts 0, so that a frozen video scores 0, with itself too;
    * only steps whose four ends are all visible count; pairs without such a step, and tracks without such a pair, are left out;
    * a video with no pair at all (all tracks lost) scores 0;
    * of videos of different lengths the common number of first frames is compared.

    Args:
        generated, source: tracks with the same ``b``; ``n`` and ``f`` may differ.
        static: above 0, a departure from the formula: a displacement shorter than this, in the units of the points, has no direction; two
            such correlate 1, one of them and a longer one 0.

    Returns:
        ``(b,)`` in ``[-1, 1]``.

    Raises:
        ValueError: for fewer than two common frames.
    """
    correlation, compared = track_correlations(generated, source, static)
    return 0.5 * (_mean_of_best(correlation, compared) + _mean_of_best(correlation.mT, compared.mT))


def track_correlations(generated: Tracks, source: Tracks, static: float = 0.0) -> tuple[Tensor, Tensor]:
    """Correlation of every generated with every source track, ``(b, n, m)`` in ``[-1, 1]``, and which pairs have a common step."""
    frames = min(generated.points.shape[1], source.points.shape[1])
    if frames < 2:
        raise ValueError(f"motion fidelity needs at least 2 common frames, not {frames}")
    steps, valid = _directions(generated, frames, static)
    source_steps, source_valid = _directions(source, frames, static)
    common = torch.einsum("btn,btm->bnm", valid, source_valid)
    similar = torch.einsum("btnd,btmd->bnm", steps, source_steps)
    return (similar / common.clamp(min=1)).clamp(-1, 1), common > 0


def _directions(tracks: Tracks, frames: int, static: float) -> tuple[Tensor, Tensor]:
    """Steps as unit vectors ``(b, f - 1, n, 3)``: a direction, the third axis if static, zero if not seen; and seen steps as 0/1."""
    points, visible = tracks.points[:, :frames].double(), tracks.visible[:, :frames]
    seen = visible[:, 1:] & visible[:, :-1]
    step = torch.where(seen[..., None], points[:, 1:] - points[:, :-1], 0.0)
    still = step.norm(dim=-1, keepdim=True) < static
    unit = torch.where(still, 0.0, F.normalize(step, dim=-1, eps=1e-12))
    valid = seen.to(points.dtype)
    return torch.cat([unit, still.to(points.dtype)], -1) * valid[..., None], valid


def _mean_of_best(correlation: Tensor, compared: Tensor) -> Tensor:
    best = torch.where(compared, correlation, -2.0).amax(-1)
    kept = compared.any(-1)
    return torch.where(kept, best, 0.0).sum(-1) / kept.sum(-1).clamp(min=1)


def dmt_motion_fidelity(generated: Tracks, source: Tracks) -> Tensor:
    """The number of DMT's released script: for comparison with published tables only.

    Mean over generated tracks of the best correlation with a source track, where one is taken off the correlation with the track of the
    same index and visibility plays no part: a track that is lost on the way stands still from there on. Tracks that are never visible are
    left out first. A displacement of exactly zero has no direction: the script's result is then NaN; here its cosine counts 0. Of videos
    of different lengths the common number of first frames is compared.

    Returns:
        ``(b,)`` in ``[-1, 1]`` (with a single track -2 to 0); 0 for a video without any track.

    Raises:
        ValueError: for fewer than two common frames.
    """
    frames = common_frames(generated, source, "motion fidelity")
    scores = []
    for mine, own, theirs, other in zip(generated.points, generated.exist, source.points, source.exist, strict=True):
        steps, others = (
            F.normalize(points[:frames, exist].double().diff(dim=0), dim=-1, eps=1e-12) for points, exist in ((mine, own), (theirs, other))
        )
        correlation = torch.einsum("tnd,tmd->nm", steps, others) / (frames - 1)
        best = (correlation - torch.eye(*correlation.shape).to(correlation)).amax(1) if correlation.numel() else correlation.new_zeros(1)
        scores.append(best.mean())
    return torch.stack(scores)


@METRICS.register("motion_fidelity")
class MotionFidelity(TrackMetric):
    """Agreement of a video's motion with its reference's, in [-1, 1]; higher is better, no motion about 0, the opposite motion below 0.

    A video that lost 90 % of its tracks or more, or whose reference did, has no score. By the protocols of the literature, chance is about
    0.5, and radial motions are not told apart: see the documentation of the metrics.

    Args:
        protocol: ``calibrated``, ``two_way``, ``two_way_static`` or ``dmt``; see :data:`PROTOCOLS`.
        tracker: ``opencv``, ``raft``, ``cotracker3``, each also ``NAME:PATH`` of the weights or ``NAME:grid=55``, or a ``Tracker``.
        static: displacements shorter than this, in half short sides, count as standing still (calibrated 0.02, two_way_static 0.002; the
            other protocols take none).
    """

    name = "motion_fidelity"
    reads = ("frames", "reference")
    sources = ("tracker",)
    higher_is_better = True
    range = (-1.0, 1.0)
    unit = "agreement"

    def __init__(self, protocol: str = "calibrated", tracker: str | Tracker = "opencv", static: float | None = None) -> None:
        if protocol not in PROTOCOLS:
            raise ValueError(f"unknown protocol '{protocol}'. Choices: {', '.join(PROTOCOLS)}")
        super().__init__(tracker, restarted=protocol == "calibrated")
        if static is not None and protocol not in THRESHOLDS:
            raise ValueError(f"protocol '{protocol}' takes no static; those that do: {', '.join(THRESHOLDS)}")
        self.static = THRESHOLDS.get(protocol) if static is None else static
        if self.static is not None and not self.static > 0:
            raise ValueError(f"static must be above 0, not {static}")
        self._formula, self.formula = protocol, PROTOCOLS[protocol]

    @property
    def protocol(self) -> dict[str, object]:
        """Tracker, formula and, where it has one, noise threshold; of scored videos also what became of their tracks."""
        stated = {"protocol": self._formula, **super().protocol}
        if self.static is not None:
            stated["static"] = self.static
        sums = self._sums or self._own_sums()
        if sums["videos"] and self._formula == "calibrated":
            stated["static_tracks"] = round(sums["still"] / sums["videos"], 3)
        return stated

    def judge(self, *videos: Tensor) -> Judged:
        """Of ``(b, f, 3, h, w)`` and ``(b, f', 3, h', w')``, two frames or more."""
        frames, reference = videos
        if len(frames) != len(reference):
            raise ValueError(f"one reference per video is needed, not {len(reference)} for {len(frames)}")
        length = min(frames.shape[1], reference.shape[1])
        if length < 2:
            raise ValueError(f"motion fidelity needs at least 2 frames, not {frames.shape[1]} and {reference.shape[1]}")
        (generated, gone), (source, missing) = self.track(frames), self.track(reference)
        still, compared = torch.zeros(len(frames)), torch.ones(len(frames), dtype=torch.bool)
        if self._formula == "calibrated":
            assert self.static is not None
            mine, theirs = motions(generated, length, self.static), motions(source, length, self.static)
            found = [agreement(a, b, self.static) for a, b in zip(mine, theirs, strict=True)]
            scores, compared = torch.tensor([each.score for each in found]), torch.tensor([each.compared for each in found])
            still = torch.tensor([motion.static for motion in mine])
        elif self._formula == "dmt":
            scores = dmt_motion_fidelity(generated, source)
        else:
            scores = motion_fidelity(generated, source, self.static or 0.0)
        enough = compared.to(gone.device) & (gone < MOST_LOST) & (missing < MOST_LOST)
        return Judged(scores.to(gone.device).where(enough, torch.nan), gone, generated.exist.sum(-1), still)
