"""Motion fidelity: whether a video moves as its reference does, in three named protocols."""

from __future__ import annotations

import warnings

import torch
from torch import Tensor

from motion_ablation.metrics.base import METRICS, PerSampleMetric, check_frames
from motion_ablation.metrics.calibrated_motion import STATIC, agreement, motions
from motion_ablation.metrics.tracking.restarted import Restarted
from motion_ablation.metrics.tracking.trackers import Tracker, Tracks, load_tracker, track_videos

STILL = 2e-3
PROTOCOLS = {
    "calibrated": "displacements across 1/8, 1/4, 1/2 of the clip agree in direction, speed and place; camera (homography) apart",
    "two_way": "best track correlation, both ways, halved (DMT's formula); steps that are not seen left out",
    "dmt": "best track correlation, one way, same index less one (DMT's released script); a still step counts 0",
}


def motion_fidelity(generated: Tracks, source: Tracks, static: float = STILL) -> Tensor:
    """The two-way motion fidelity of Yatim et al. 2023 (DMT), halved to ``[-1, 1]``.

    The correlation of two tracks is the mean, over the steps between frames, of the cosine of their displacements. The score is half the
    sum of two means: over generated tracks of the best correlation with a source track, and over source tracks of the best with a
    generated one. Beyond the paper's formula:

    * a displacement shorter than ``static`` has no direction: two static steps correlate 1, a static and a moving one 0;
    * only steps whose four ends are all visible count; pairs without such a step, and tracks without such a pair, are left out;
    * a video with no pair at all (all tracks lost) scores 0;
    * of videos of different lengths the common number of first frames is compared.

    Args:
        generated, source: tracks with the same ``b``; ``n`` and ``f`` may differ. static: in the units of the points.

    Returns:
        ``(b,)`` in ``[-1, 1]``.

    Raises:
        ValueError: for fewer than two common frames.
    """
    correlation, compared = track_correlations(generated, source, static)
    return 0.5 * (_mean_of_best(correlation, compared) + _mean_of_best(correlation.mT, compared.mT))


def track_correlations(generated: Tracks, source: Tracks, static: float = STILL) -> tuple[Tensor, Tensor]:
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
    points, visible = tracks.points[:, :frames].float(), tracks.visible[:, :frames]
    seen = visible[:, 1:] & visible[:, :-1]
    step = torch.where(seen[..., None], points[:, 1:] - points[:, :-1], 0.0)
    length = step.norm(dim=-1, keepdim=True)
    moving = length >= static
    unit = torch.where(moving, step / length.clamp(min=static), 0.0)
    valid = seen.to(points.dtype)
    return torch.cat([unit, (~moving).to(points.dtype)], -1) * valid[..., None], valid


def _mean_of_best(correlation: Tensor, compared: Tensor) -> Tensor:
    best = torch.where(compared, correlation, -2.0).amax(-1)
    kept = compared.any(-1)
    return torch.where(kept, best, 0.0).sum(-1) / kept.sum(-1).clamp(min=1)


def dmt_motion_fidelity(generated: Tracks, source: Tracks) -> Tensor:
    """The number of DMT's released script: for comparison with published tables only.

    Mean over generated tracks of the best correlation with a source track, where one is taken off the correlation with the track of the
    same index and visibility plays no part. A displacement of exactly zero has no direction: the script's result is then NaN; here its
    cosine counts 0. Of videos of different lengths the common number of first frames is compared.

    Returns:
        ``(b,)`` in ``[-1, 1]`` (with a single track -2 to 0).

    Raises:
        ValueError: for fewer than two common frames.
    """
    frames = min(generated.points.shape[1], source.points.shape[1])
    if frames < 2:
        raise ValueError(f"motion fidelity needs at least 2 frames, not {frames}")
    steps, others = (
        torch.nn.functional.normalize(t.points[:, :frames].double().diff(dim=1), dim=-1, eps=1e-12) for t in (generated, source)
    )
    correlation = torch.einsum("btnd,btmd->bnm", steps, others) / (frames - 1)
    return (correlation - torch.eye(*correlation.shape[1:]).to(correlation)).amax(2).mean(1)


@METRICS.register("motion_fidelity")
class MotionFidelity(PerSampleMetric):
    """Agreement of a video's motion with its reference's, in [-1, 1]; higher is better, no motion about 0, the opposite motion below 0.

    Videos in which no track can be compared score 0; ``lost`` counts them, and a warning tells. By the protocols of the literature, chance
    is about 0.5 instead, and radial motions are not told apart: see the documentation of the metrics.

    Args:
        protocol: ``calibrated``, ``two_way`` or ``dmt``; see :data:`PROTOCOLS`.
        tracker: ``opencv``, ``raft``, ``cotracker3``, each also ``NAME:PATH`` (of the weights file), or a ``Tracker``.
        static: displacements shorter than this, in units of half the frame, count as standing still (calibrated 0.02, two_way 0.002).
    """

    name = "motion_fidelity"
    sources = ("tracker",)
    reads = ("frames", "reference")
    sources = ("tracker",)
    higher_is_better = True
    range = (-1.0, 1.0)
    unit = "agreement"
    rescales = True
    lost: Tensor
    still: Tensor
    gone: Tensor
    seen: Tensor

    def __init__(self, protocol: str = "calibrated", tracker: str | Tracker = "opencv", static: float | None = None) -> None:
        super().__init__()
        if protocol not in PROTOCOLS:
            raise ValueError(f"unknown protocol '{protocol}'. Choices: {', '.join(PROTOCOLS)}")
        self.static = static if static is not None else STATIC if protocol == "calibrated" else STILL
        if not self.static > 0:
            raise ValueError(f"static must be above 0, not {static}")
        for state in ("lost", "still", "gone", "seen"):
            self.add_state(state, torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")
        plain = load_tracker(tracker) if isinstance(tracker, str) else tracker
        self._tracker: tuple[Tracker] = (Restarted(plain) if protocol == "calibrated" else plain,)
        self._formula = protocol

    @property
    def protocol(self) -> dict[str, object]:
        """Tracker, formula and noise threshold; once videos are scored also the mean shares of tracks lost and, if calibrated, static."""
        stated: dict[str, object] = {"protocol": self._formula, "tracker": self._tracker[0].name, "formula": PROTOCOLS[self._formula]}
        stated["static"] = self.static
        if self.seen:
            stated["lost_videos"] = int(self.lost)
            stated["lost_tracks"] = round(float(self.gone / self.seen), 3)
            if self._formula == "calibrated":
                stated["static_tracks"] = round(float(self.still / self.seen), 3)
        return stated

    def score(self, frames: Tensor, reference: Tensor) -> Tensor:
        """``(b, f, 3, h, w)`` and ``(b, f', 3, h', w')``, two frames or more, to ``(b,)``."""
        return self._compare(frames, reference)[0]

    def update(self, frames: Tensor, reference: Tensor) -> None:
        """Adds a batch of videos and their references."""
        scores, lost, still, gone = self._compare(frames, reference)
        for state, value in (("lost", lost), ("still", still), ("gone", gone), ("seen", torch.ones_like(lost))):
            setattr(self, state, getattr(self, state) + value.double().sum().to(self.lost.device))
        self.add(scores)

    def _compare(self, frames: Tensor, reference: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Per video: score, whether nothing could be compared, share of static tracks, share of tracks lost before their end."""
        frames, reference = check_frames(frames), check_frames(reference, "reference")
        if len(frames) != len(reference):
            raise ValueError(f"one reference per video is needed, not {len(reference)} for {len(frames)}")
        length = min(frames.shape[1], reference.shape[1])
        if length < 2:
            raise ValueError(f"motion fidelity needs at least 2 frames, not {frames.shape[1]} and {reference.shape[1]}")
        (tracker,) = self._tracker
        generated, source = track_videos(tracker, frames), track_videos(tracker, reference)
        still = torch.zeros(len(frames))
        if self._formula == "calibrated":
            mine, theirs = motions(generated, length, self.static), motions(source, length, self.static)
            found = [agreement(a, b, self.static) for a, b in zip(mine, theirs, strict=True)]
            scores, lost = torch.tensor([each.score for each in found]), torch.tensor([not each.compared for each in found])
            still = torch.tensor([motion.static for motion in mine])
        elif self._formula == "two_way":
            scores = motion_fidelity(generated, source, self.static)
            lost = ~track_correlations(generated, source, self.static)[1].flatten(1).any(1)
        else:
            scores = dmt_motion_fidelity(generated, source)
            lost = torch.zeros(len(frames), dtype=torch.bool)
        if lost.any():
            warnings.warn(f"motion fidelity: no track to compare in {int(lost.sum())} of {len(lost)} videos; they score 0", stacklevel=3)
        gone = tracker.lost(generated) if isinstance(tracker, Restarted) else generated.lost
        return scores.to(frames.device), lost, still, gone
