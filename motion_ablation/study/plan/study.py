"""From cards to runs: which experiments, on which references, and what determines each result."""

from __future__ import annotations

import copy
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from itertools import product
from pathlib import Path
from typing import Any

import yaml

from motion_ablation.backbones import BackboneConfig, load_backbone
from motion_ablation.cache.addresses import INCIDENTAL as INCIDENTAL
from motion_ablation.cache.addresses import addresses, recipe_of, training_recipe, trains_of
from motion_ablation.cache.artefacts import content_hash
from motion_ablation.configure.parse import resolve
from motion_ablation.data.reference import Source, find_sources
from motion_ablation.data.video import replacing
from motion_ablation.study.plan.cards import FLOOR, Card, CardError

RESERVED = ("figures", "sheets", "study")  # folders of a study beside those of its experiments


@dataclass(frozen=True)
class Options:
    """What a user may set for all runs of a study.

    Attributes:
        references: as in the data module; None takes them from ``configs``, else the built-in ones. configs: YAML files beneath
            every experiment, such as another backbone. steps, seeds, prompts: None leaves them to the configuration.
        train_seeds: every experiment that learns is trained once with each; None is the configuration's ``seed_everything``.
    """

    references: Sequence[str] | None = None
    configs: Sequence[str] = ()
    steps: int | None = None
    seeds: Sequence[int] | None = None
    prompts: Sequence[str] | None = None
    train_seeds: Sequence[int] | None = None


@dataclass(frozen=True)
class Run:
    """One experiment on one reference with one training seed: an embedding belongs to one reference, so each is a fit of its own.

    Attributes:
        folder: where everything about it is written. arguments: what ``lightning`` would be given.
        config: what the arguments stood for when the study was planned; it is what runs, whatever is edited meanwhile. Empty if read back.
        backbone: fingerprint of the weights at that time. recipe: hash of all that determines the result.
        trains: whether it has parameters to learn. embedding: hash of all that determines what it learns; runs with the same learn it
            once. error: why it cannot even be configured; empty if it can. train_seed: what seeds the training; generation has seeds of
            its own. An experiment that learns nothing has one run, with the configuration's.
    """

    experiment: str
    reference: str
    folder: Path
    arguments: list[str]
    recipe: str
    trains: bool
    error: str = ""
    config: dict[str, Any] = field(default_factory=dict)
    backbone: str = ""
    embedding: str = ""
    train_seed: int = 0

    @property
    def name(self) -> str:
        """Its name in progress, tables and TensorBoard: the last two parts of its folder."""
        return f"{self.experiment}/{self.folder.name}"

    def result(self) -> dict[str, Any] | None:
        """Its ``result.json``, or None where there is none or it is of another recipe."""
        found = read_result(self.folder)
        return found if found is not None and found.get("recipe") == self.recipe else None

    @property
    def finished(self) -> bool:
        """Whether it need not run again."""
        found = self.result()
        return found is not None and found["status"] == "done"


@dataclass(frozen=True)
class Study:
    """Cards with the runs that they need.

    Attributes:
        experiments: in the table's order. references: their names. same_as: experiments whose configuration resolves to that of
            another, which is computed once for both. train_seeds: what each experiment that learns is trained with, at least one.
    """

    folder: Path
    cards: list[Card]
    experiments: list[str]
    references: list[str]
    same_as: dict[str, str] = field(default_factory=dict)
    runs: list[Run] = field(default_factory=list)
    train_seeds: list[int] = field(default_factory=lambda: [0])

    @property
    def metrics(self) -> list[str]:
        """The metrics of all cards, in first-seen order."""
        return list(dict.fromkeys(metric for card in self.cards for metric in card.metrics))

    def run_of(self, experiment: str, reference: str, train_seed: int | None = None) -> Run:
        """The run that computes this experiment on this reference.

        Args:
            train_seed: None is the first. An experiment that learns nothing gives its only run for every seed.
        """
        owner = self.same_as.get(experiment, experiment)
        runs = [run for run in self.runs if (run.experiment, run.reference) == (owner, reference)]
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
        data = json.loads((folder / "study.json").read_text(encoding="utf-8"))
        cards = [Card(**{**card, "path": Path(card["path"])}) for card in data["cards"]]
        runs = [Run(**{**run, "folder": folder / run.get("folder", f"{run['experiment']}/{run['reference']}")}) for run in data["runs"]]
        return cls(folder, cards, data["experiments"], data["references"], data["same_as"], runs, data.get("train_seeds", [0]))


def run_folder(study: Path, experiment: str, reference: str, train_seed: int | None = None) -> Path:
    """Where a run of a study is; ``train_seed`` is None where there is but one. The last two parts are its name in TensorBoard."""
    return study / experiment / (reference if train_seed is None else f"{reference}-s{train_seed}")


def read_result(folder: Path) -> dict[str, Any] | None:
    """A run's ``result.json``, or None where there is none that can be read."""
    try:
        found = json.loads((folder / "result.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) and "status" in found else None


def write_json(path: Path, data: Any) -> None:
    """Writes plain data atomically."""
    with replacing(path) as part:
        part.write_text(json.dumps(data, indent=1, default=str) + "\n", encoding="utf-8")


def make_study(cards: list[Card], folder: Path, options: Options) -> Study:
    """Resolves every experiment, finds those that are the same, and lists the runs; starts none.

    Raises:
        ValueError: references, configurations or weights with which no experiment at all can run.
    """
    experiments = _experiments(cards)
    for path in options.configs:
        if not Path(path).is_file():
            raise CardError(f"{path}: no such configuration")
    train_seeds = options.train_seeds or []
    if len(set(train_seeds)) < len(train_seeds) or not all(0 <= seed < 2**32 for seed in train_seeds):
        raise CardError(f"training seeds must be different numbers from 0 to 2^32 - 1, not {' '.join(map(str, train_seeds))}")
    references = _references(options)
    sources = find_sources(references)
    study = Study(folder, cards, list(experiments), [source.name for source in sources])
    owners: dict[str, str] = {}
    learnt: dict[str, str] = {}
    for experiment, file in experiments.items():
        arguments = [*_config_arguments([*options.configs, str(file)]), *_arguments(references, options)]
        error, backbone, config = "", "", {}
        try:
            config = resolve(arguments)
            backbone = load_backbone(BackboneConfig(**config["model"]["backbone"])).fingerprint
            recipe, training = recipe_of(config, backbone), training_recipe(config, backbone)
        except Exception as caught:
            error = one_line(caught)
        trains = bool(error) or trains_of(config)
        # Without --train-seeds, and where nothing is learnt, the configuration's own.
        seeds = list(options.train_seeds) if options.train_seeds and trains else [int(config.get("seed_everything", 0))]
        if not error:
            learnt[experiment] = content_hash([training, seeds])
            owner = owners.setdefault(content_hash([recipe, seeds]), experiment)
            if owner != experiment:
                study.same_as[experiment] = owner
                continue
        for source, seed in product(sources, seeds):
            place = run_folder(folder, experiment, source.name, seed if len(seeds) > 1 else None)
            settings = {"seed_everything": seed, **_own_settings(place, source)}
            given = [*arguments, *(f"--{key}={value}" for key, value in settings.items())]
            frozen = {} if error else _with_settings(config, settings)
            reason, whole, embedding = error, "", ""
            try:
                if not error:
                    whole, embedding = addresses(frozen, backbone, source)
            except OSError as unreadable:
                reason = one_line(unreadable)
            study.runs.append(Run(experiment, source.name, place, given, whole, trains, reason, frozen, backbone, embedding, seed))
    study.train_seeds[:] = options.train_seeds or [next((run for run in study.runs if run.trains), study.runs[0]).train_seed]
    _check_factors(cards, learnt)
    errors = {run.error for run in study.runs}
    if len(errors) == 1 and "" not in errors:
        raise ValueError(errors.pop())
    return study


def one_line(error: BaseException) -> str:
    """An error as one line: its type where the message alone would not tell, and the message."""
    message = " ".join(str(error).split())
    plain = type(error) in (ValueError, FileNotFoundError) or not message
    return message[:500] if plain and message else f"{type(error).__name__}: {message}"[:500].removesuffix(": ")


def _check_factors(cards: list[Card], learnt: dict[str, str]) -> None:
    """Refuses a card of generate-time factors whose replacements would learn something else than the baseline."""
    for card in cards:
        if card.factors == "generate" and card.baseline in learnt:
            other = [name for name in card.replacements if name in learnt and learnt[name] != learnt[card.baseline]]
            if other:
                raise CardError(
                    f"{card.path}: factors: generate, but '{other[0]}' trains otherwise than '{card.baseline}'; set factors: train"
                )


def _experiments(cards: list[Card]) -> dict[str, Path]:
    """All experiments of the cards and their files: the floor, the baselines, the replacements."""
    ordered = [FLOOR, *(card.baseline for card in cards), *(name for card in cards for name in card.replacements)]
    found: dict[str, Path] = {}
    for name in dict.fromkeys(ordered):
        if name in RESERVED:
            raise CardError(f"an experiment cannot be called '{name}': the study's folder has one of that name")
        paths = {card.folder / f"{name}.yaml" for card in cards if name in card.experiments}
        if len(paths) > 1:
            raise CardError(f"experiment '{name}' is two different files: {', '.join(sorted(map(str, paths)))}")
        found[name] = paths.pop()
    return found


def _references(options: Options) -> list[str]:
    if options.references is not None:
        return list(options.references)
    for path in reversed(options.configs):
        data = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
        named = (data.get("data") or {}).get("references") if isinstance(data, dict) else None
        if named:
            return list(named)
    return ["builtin"]


def _config_arguments(paths: list[str]) -> list[str]:
    return [argument for path in paths for argument in ("--config", path)]


def _arguments(references: list[str], options: Options) -> list[str]:
    """Arguments that all runs share."""
    arguments = [f"--data.references={json.dumps(references)}", "--trainer.enable_progress_bar=false"]
    if options.steps is not None:
        arguments.append(f"--trainer.max_steps={options.steps}")
    if options.seeds is not None:
        arguments.append(f"--data.seeds={json.dumps(list(options.seeds))}")
    if options.prompts is not None:
        arguments.append(f"--data.prompts={json.dumps(list(options.prompts))}")
    return arguments


def _own_settings(folder: Path, source: Source) -> dict[str, str]:
    """What sets a run apart from the others of its experiment, by dotted key."""
    logger = {"save_dir": str(folder.parent.parent), "name": folder.parent.name, "version": folder.name}
    return {"data.reference": source.name, **{f"trainer.logger.init_args.{key}": value for key, value in logger.items()}}


def _with_settings(config: dict[str, Any], settings: dict[str, Any]) -> dict[str, Any]:
    """A copy of ``config`` with dotted keys set."""
    changed = copy.deepcopy(config)
    for key, value in settings.items():
        *path, last = key.split(".")
        place = changed
        for name in path:
            place = place[name]
        place[last] = value
    return changed
