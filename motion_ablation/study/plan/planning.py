"""How a study is planned: every experiment of its cards is resolved to a configuration, and becomes a run per reference and seed."""

from __future__ import annotations

import copy
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

import yaml

from motion_ablation.backbones import BackboneConfig, load_backbone
from motion_ablation.cache.addresses import addresses, recipe_of, training_recipe, trains_of
from motion_ablation.cache.artefacts import content_hash
from motion_ablation.configure.parse import check_evaluation, resolve
from motion_ablation.data.reference import ReferenceDataModule, Source, find_sources
from motion_ablation.metrics import EvaluationConfig
from motion_ablation.study.plan.cards import PLAIN, Card, CardError
from motion_ablation.study.plan.run import Run, folder_of, one_line
from motion_ablation.study.plan.study import Study

OWN_FOLDER = ("TensorBoardLogger", "CSVLogger")  # Lightning's loggers that write into save_dir/name/version
RESERVED = ("figures", "sheets", "study")  # folders of a study beside those of its experiments


@dataclass(frozen=True)
class Options:
    """What a user may set for all runs of a study. None leaves a value to the configuration.

    Attributes:
        references: as in the data module; None takes those of ``configs``, or the built-in ones where they name none.
        configs: YAML files that every experiment builds on, such as another backbone.
        steps: of training. seeds: of generation. prompts: to generate with.
        train_seeds: every experiment that learns is trained once with each.
        shown: more references, as above, that the sheets show and no table counts.
    """

    references: Sequence[str] | None = None
    configs: Sequence[str] = ()
    steps: int | None = None
    seeds: Sequence[int] | None = None
    prompts: Sequence[str] | None = None
    train_seeds: Sequence[int] | None = None
    shown: Sequence[str] = ()


@dataclass(frozen=True)
class _Resolved:
    """An experiment's configuration, before a reference is chosen.

    Attributes:
        arguments: what it was resolved from. trains: whether it has parameters to learn; one that cannot be resolved counts as if it had.
        seeds: what it is trained with. error: why it cannot run; empty if it can. backbone: fingerprint of its weights. recipe, training:
            hashes of what determines its results and its embeddings.
    """

    arguments: list[str]
    trains: bool
    seeds: list[int]
    error: str
    config: dict[str, Any]
    backbone: str
    recipe: str
    training: str


def make_study(cards: list[Card], folder: Path, options: Options) -> Study:
    """Resolves every experiment, finds those that come out the same, and lists the runs; starts none.

    Raises:
        ValueError: references, configurations or weights with which no experiment at all can run.
    """
    files = _experiments(cards)
    _check_options(options)
    counted = _references(options)
    references = [*counted, *options.shown]
    sources = find_sources(references)
    shared = _arguments(references, options)
    resolved = {name: _resolve([*options.configs, str(file)], shared, options.train_seeds) for name, file in files.items()}
    study = Study(folder, list(cards), list(files), [source.name for source in sources])
    study.shown.extend(study.references[len(find_sources(counted)) :])
    study.strata.update({source.name: strata for source in sources if any((strata := source.strata()).values())})
    owners: dict[str, str] = {}
    for name, each in resolved.items():
        owner = name if each.error else owners.setdefault(each.recipe, name)
        if owner != name:
            study.same_as[name] = owner
        else:
            study.runs.extend(_run(study.folder, name, each, source, seed) for source, seed in product(sources, each.seeds))
    study.train_seeds[:] = options.train_seeds or [next((run for run in study.runs if run.trains), study.runs[0]).train_seed]
    _check_factors(cards, resolved)
    study.cards[:] = [card if card.metrics else replace(card, metrics=_metrics_of(card, resolved)) for card in cards]
    errors = {run.error for run in study.runs}
    if len(errors) == 1 and "" not in errors:
        raise ValueError(errors.pop())
    return study


def _check_options(options: Options) -> None:
    for path in options.configs:
        if not Path(path).is_file():
            raise CardError(f"{path}: no such configuration")
    seeds = options.train_seeds or []
    if len(set(seeds)) < len(seeds) or not all(0 <= seed < 2**32 for seed in seeds):
        raise CardError(f"training seeds must be different numbers from 0 to 2^32 - 1, not {' '.join(map(str, seeds))}")


def _resolve(files: list[str], shared: list[str], train_seeds: Sequence[int] | None) -> _Resolved:
    """What an experiment's files and the arguments of all experiments stand for."""
    arguments = [*(part for file in files for part in ("--config", file)), *shared]
    config: dict[str, Any] = {}
    error, backbone, recipe, training = "", "", "", ""
    try:
        config = resolve(arguments)
        check_evaluation(config)
        ReferenceDataModule(**config["data"])
        backbone = load_backbone(BackboneConfig(**config["model"]["backbone"])).fingerprint
        recipe, training = recipe_of(config, backbone), training_recipe(config, backbone)
    except Exception as caught:
        error = one_line(caught)
    trains = bool(error) or trains_of(config)
    seeds = list(train_seeds) if train_seeds and trains else [int(config.get("seed_everything", 0))]
    return _Resolved(arguments, trains, seeds, error, config, backbone, content_hash([recipe, seeds]), content_hash([training, seeds]))


def _run(study: Path, experiment: str, resolved: _Resolved, source: Source, seed: int) -> Run:
    """The run of a resolved experiment on a reference."""
    folder = folder_of(study, experiment, source.name, seed if len(resolved.seeds) > 1 else None)
    settings = {"seed_everything": seed, "data.reference": source.name, **_logging(resolved.config, study, experiment, folder)}
    arguments = [*resolved.arguments, *(f"--{key}={value}" for key, value in settings.items())]
    run = Run(experiment, source.name, folder, arguments, "", resolved.trains, resolved.error, train_seed=seed)
    if resolved.error:
        return run
    run = replace(run, config=_with_settings(resolved.config, settings), backbone=resolved.backbone)
    try:
        recipe, embedding = addresses(run.config, run.backbone, source)
    except OSError as unreadable:
        return replace(run, error=one_line(unreadable))
    return replace(run, recipe=recipe, embedding=embedding)


def _logging(config: dict[str, Any], study: Path, experiment: str, folder: Path) -> dict[str, Any]:
    """Settings by which a run writes into its own folder, whatever its logger is."""
    logger = config["trainer"]["logger"] if config else None
    options = logger.get("init_args", {}) if isinstance(logger, dict) else {}
    if isinstance(logger, dict) and logger["class_path"].rpartition(".")[2] in OWN_FOLDER:
        chosen = {"save_dir": str(study), "name": experiment, "version": folder.name}
    else:
        chosen = {key: value for key, value in {"save_dir": str(folder), "name": f"{experiment}/{folder.name}"}.items() if key in options}
    return {"trainer.default_root_dir": str(folder), **{f"trainer.logger.init_args.{key}": value for key, value in chosen.items()}}


def _metrics_of(card: Card, resolved: dict[str, _Resolved]) -> list[str]:
    """The metrics by which a card that names none compares: those of its baseline's evaluation."""
    config = resolved[card.baseline].config or resolve([])
    return EvaluationConfig(**config["evaluation"]).compared()


def _check_factors(cards: list[Card], resolved: dict[str, _Resolved]) -> None:
    """Refuses a card with ``factors: generate`` where a replacement trains otherwise than the baseline."""
    trainings = {name: each.training for name, each in resolved.items() if not each.error}
    for card in cards:
        if card.factors == "generate" and card.baseline in trainings:
            other = [name for name in card.replacements if name in trainings and trainings[name] != trainings[card.baseline]]
            if other:
                raise CardError(
                    f"{card.path}: factors: generate, but '{other[0]}' trains otherwise than '{card.baseline}'; set factors: train"
                )


def _experiments(cards: list[Card]) -> dict[str, Path]:
    """All experiments of the cards and their files: the plain backbone, the baselines, the replacements."""
    ordered = [PLAIN, *(card.baseline for card in cards), *(name for card in cards for name in card.replacements)]
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
            return [named] if isinstance(named, str) else list(named)
    return ["builtin"]


def _arguments(references: list[str], options: Options) -> list[str]:
    """Arguments that all runs share."""
    arguments = [f"--data.references={json.dumps(references, ensure_ascii=False)}", "--trainer.enable_progress_bar=false"]
    if options.steps is not None:
        arguments.append(f"--trainer.max_steps={options.steps}")
    if options.seeds is not None:
        arguments.append(f"--data.seeds={json.dumps(list(options.seeds), ensure_ascii=False)}")
    if options.prompts is not None:
        arguments.append(f"--data.prompts={json.dumps(list(options.prompts), ensure_ascii=False)}")
    return arguments


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
