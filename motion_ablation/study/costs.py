"""What a study would run and what that costs, told before anything runs."""

from __future__ import annotations

from motion_ablation.data.reference import ReferenceDataModule
from motion_ablation.module import BackboneConfig, load_backbone
from motion_ablation.motion import MotionConfig, MotionEmbeddings
from motion_ablation.study.plan import Run, Study
from motion_ablation.study.table import grid


def describe(study: Study) -> str:
    """The cards, one row per experiment, and the sum, as text.

    Cost is counted in passes of one video through the denoiser: a training step is 3 (forward and backward), a sampling step 1, or 2 with
    guidance. An embedding that runs share is counted once; inversions, one per reference, are left out.
    """
    parts = [_card_lines(study)]
    rows: list[list[str]] = []
    trained: set[str] = set()
    totals = [0, 0, 0]
    for experiment in study.experiments:
        owner = study.same_as.get(experiment)
        if owner:
            rows.append([experiment, f"= {owner}", "", "", "", ""])
            continue
        runs = [run for run in study.runs if run.experiment == experiment]
        if runs[0].error:
            rows.append([experiment, f"cannot run: {runs[0].error}", "", "", "", ""])
            continue
        new = [run for run in runs if run.trains and run.embedding not in trained]
        trained |= {run.embedding for run in new}
        videos = sum(_data(run).cell_count for run in runs)
        passes = sum(map(_training_cost, new)) + sum(map(_generation_cost, runs))
        finished = sum(run.finished for run in runs)
        state = "" if not finished else f"{finished} of {len(runs)} finished"
        training = f"{len(new)}" if new or not runs[0].trains else "shared"
        rows.append([experiment, training, str(videos), f"{_parameters(runs[0]):,}", f"{passes:,}", state])
        totals = [totals[0] + len(new), totals[1] + videos, totals[2] + passes]
    header = ["experiment", "trainings", "videos", "trainable", "passes", "state"]
    parts.append(grid(header, [*rows, ["all", str(totals[0]), str(totals[1]), "", f"{totals[2]:,}", ""]]))
    parts.append("passes: of one video through the denoiser; a training step counts 3, a sampling step 1, or 2 with guidance.")
    return "\n\n".join(parts)


def _card_lines(study: Study) -> str:
    lines = []
    for card in study.cards:
        lines += [
            f"{card.name} ({card.path})",
            f"  {card.action} {card.part}",
            f"  why: {card.why}",
            f"  baseline: {card.baseline}; replacements: {', '.join(card.replacements)}; floor: {card.experiments[0]}",
            f"  metrics: {', '.join(card.metrics)}; factors: {card.factors}-time",
        ]
    return "\n".join([*lines, f"references: {', '.join(study.references)}"])


def _data(run: Run) -> ReferenceDataModule:
    return ReferenceDataModule(**run.config["data"])


def _training_cost(run: Run) -> int:
    return 3 * int(run.config["trainer"]["max_steps"])


def _generation_cost(run: Run) -> int:
    sampling = run.config["model"]["sampling"]
    return _data(run).cell_count * int(sampling["steps"]) * (1 if sampling["guidance"] == 1 else 2)


def _parameters(run: Run) -> int:
    """Trainable parameters, from the sites of the backbone; no clip is decoded."""
    if not run.trains:
        return 0
    window = _data(run).dataset.window
    backbone = load_backbone(BackboneConfig(**run.config["model"]["backbone"]))
    motion = MotionConfig.from_dict(run.config["model"]["motion"])
    return MotionEmbeddings(motion, backbone.sites(window.frames, *window.shape)).parameter_count
