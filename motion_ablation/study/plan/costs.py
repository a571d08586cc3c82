"""What a study would run and what that costs, told before anything runs."""

from __future__ import annotations

from dataclasses import dataclass

from motion_ablation.backbones import BackboneConfig, load_backbone
from motion_ablation.data.reference import ReferenceDataModule
from motion_ablation.motion import MotionConfig, MotionEmbeddings
from motion_ablation.study.markdown import grid
from motion_ablation.study.plan.cards import PLAIN
from motion_ablation.study.plan.run import Run
from motion_ablation.study.plan.study import Study


def describe(study: Study) -> str:
    """The cards, one row per experiment, and the sum, as text.

    Cost is counted as in :func:`passes`.
    """
    parts = [_card_lines(study)]
    rows: list[list[str]] = []
    costs = passes(study)
    totals = [0, 0, 0]
    for experiment in study.experiments:
        owner = study.owner(experiment)
        if owner != experiment:
            rows.append([experiment, f"= {owner}", "", "", "", ""])
            continue
        runs = study.runs_of(experiment)
        if runs[0].error:
            rows.append([experiment, f"cannot run: {runs[0].error}", "", "", "", ""])
            continue
        new = sum(costs[run.name].training > 0 for run in runs)
        videos = sum(_data(run).cell_count for run in runs)
        total = sum(costs[run.name].total for run in runs)
        finished = sum(run.finished for run in runs)
        state = "" if not finished else f"{finished} of {len(runs)} finished"
        training = f"{new}" if new or not runs[0].trains else "shared"
        rows.append([experiment, training, str(videos), f"{_parameters(runs[0]):,}", f"{total:,}", state])
        totals = [totals[0] + new, totals[1] + videos, totals[2] + total]
    header = ["experiment", "trainings", "videos", "trainable", "passes", "state"]
    parts.append(grid(header, [*rows, ["all", str(totals[0]), str(totals[1]), "", f"{totals[2]:,}", ""]]))
    parts.append("passes: of one video through the denoiser; a training step counts 3, a sampling step 1, or 2 with guidance.")
    return "\n\n".join(parts)


@dataclass(frozen=True)
class Passes:
    """What a run costs, in passes of one video through the denoiser."""

    training: int
    generation: int

    @property
    def total(self) -> int:
        """Both together."""
        return self.training + self.generation


def passes(study: Study) -> dict[str, Passes]:
    """The cost of every run that can be configured, by its name.

    A training step is 3 passes (forward and backward), a sampling step 1, or 2 with guidance. An embedding that runs share is counted
    once, for the first of them. Inversions, one per reference, are left out, and so are the networks of the metrics.
    """
    costs: dict[str, Passes] = {}
    trained: set[str] = set()
    for run in study.runs:
        if not run.error:
            new = run.trains and run.embedding not in trained
            costs[run.name] = Passes(_training_cost(run) if new else 0, _generation_cost(run))
            trained.add(run.embedding)
    return costs


def _card_lines(study: Study) -> str:
    lines = []
    for card in study.cards:
        lines += [
            f"{card.name} ({card.path})",
            f"  {card.action} {card.part}",
            f"  why: {card.why}",
            f"  baseline: {card.baseline}; replacements: {', '.join(card.replacements)}; plain backbone: {PLAIN}",
            f"  metrics: {', '.join(card.metrics)}; factors: {card.factors}-time",
        ]
    shown = [f"shown and not counted: {', '.join(study.shown)}"] if study.shown else []
    return "\n".join([*lines, f"references: {', '.join(study.judged)}", *shown])


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
