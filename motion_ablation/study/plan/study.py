"""A study: ablation cards and the runs that they need, as ``study.json`` keeps them."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from motion_ablation.files import read_json, write_json
from motion_ablation.study.plan.cards import Card, CardError
from motion_ablation.study.plan.run import Run


@dataclass(frozen=True)
class Study:
    """Cards with the runs that they need.

    Attributes:
        folder: where everything about it is written. cards: what it answers.
        experiments: names of all experiments of the cards, in the order of the tables.
        references: names of the reference videos.
        shown: those of them that the sheets and the report's videos show, and no table counts.
        same_as: for every experiment whose configuration comes out the same as that of an earlier one, that one's name. The two share
            their runs.
        runs: what has to be computed.
        train_seeds: the seeds that every experiment that learns is trained with, at least one.
        strata: of each reference and prompt, the part of its set, as the manifest names it; empty where it names none.
    """

    folder: Path
    cards: list[Card]
    experiments: list[str]
    references: list[str]
    same_as: dict[str, str] = field(default_factory=dict)
    runs: list[Run] = field(default_factory=list)
    train_seeds: list[int] = field(default_factory=lambda: [0])
    strata: dict[str, dict[str, str]] = field(default_factory=dict)
    shown: list[str] = field(default_factory=list)

    @property
    def judged(self) -> list[str]:
        """The references that tables and verdicts are about."""
        return [name for name in self.references if name not in self.shown]

    @property
    def metrics(self) -> list[str]:
        """The metrics of all cards, in first-seen order."""
        return list(dict.fromkeys(metric for card in self.cards for metric in card.metrics))

    def owner(self, experiment: str) -> str:
        """The experiment whose runs are shown under this one's name: itself, unless it is :attr:`same_as` another."""
        return self.same_as.get(experiment, experiment)

    def runs_of(self, experiment: str) -> list[Run]:
        """The runs that are shown under an experiment's name."""
        return [run for run in self.runs if run.experiment == self.owner(experiment)]

    def run_of(self, experiment: str, reference: str, train_seed: int | None = None) -> Run:
        """The run of an experiment on a reference.

        Args:
            train_seed: None is the first. An experiment that learns nothing has one run, whatever the seed.
        """
        runs = [run for run in self.runs_of(experiment) if run.reference == reference]
        return next((run for run in runs if run.train_seed == train_seed), runs[0])

    def save(self) -> None:
        """Writes ``study.json``, from which a report can be made without the cards and experiments at hand."""
        write_json(self.folder / "study.json", {**asdict(self), "folder": None, "runs": [self._portable(run) for run in self.runs]})

    def _portable(self, run: Run) -> dict[str, Any]:
        return {**asdict(run), "folder": str(run.folder.relative_to(self.folder)), "config": {}}

    @classmethod
    def load(cls, folder: str | Path) -> Study:
        """Inverse of :meth:`save`, wherever the folder is now. Raises :class:`CardError` if there is no study."""
        folder = Path(folder)
        if not (folder / "study.json").is_file():
            raise CardError(f"{folder} holds no study (no study.json); run one with: motion-ablation run CARD ... --output FOLDER")
        data = read_json(folder / "study.json")
        cards = [Card(**{**card, "path": Path(card["path"])}) for card in data["cards"]]
        runs = [Run(**{**run, "folder": folder / run.get("folder", f"{run['experiment']}/{run['reference']}")}) for run in data["runs"]]
        seeds, strata, shown = data.get("train_seeds", [0]), data.get("strata", {}), data.get("shown", [])
        return cls(folder, cards, data["experiments"], data["references"], data["same_as"], runs, seeds, strata, shown)
