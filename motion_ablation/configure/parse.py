"""From command-line arguments to a configured run: LightningCLI with ``defaults.yaml`` beneath every experiment."""

from __future__ import annotations

import inspect
import json
import sys
import warnings
from functools import cache
from pathlib import Path
from typing import Any

from motion_ablation.configure.keys import check_arguments, reason

DEFAULTS = Path(__file__).parent / "defaults.yaml"
COMMANDS = ("fit", "validate", "test", "predict")
SECTIONS = ("seed_everything", "model", "data", "evaluation")  # of a configuration, as `result.json` holds it


def make_cli(arguments: list[str] | None, run: bool = True) -> Any:
    """Parses ``arguments`` and, if ``run``, executes the subcommand; else instantiates model, data and trainer only.

    Raises:
        ValueError, jsonargparse.ArgumentError: what is wrong with the arguments, before any weight is loaded.
    """
    from lightning.pytorch.cli import LightningCLI

    from motion_ablation.callbacks import EvaluationCallback, ResultCallback
    from motion_ablation.data.reference import ReferenceDataModule
    from motion_ablation.initial_noise import INITIAL_NOISES
    from motion_ablation.metrics import EvaluationConfig
    from motion_ablation.module import MotionInversion

    arguments = sys.argv[1:] if arguments is None else arguments
    check_keys(arguments, MotionInversion, ReferenceDataModule, EvaluationConfig)
    named = [command for command in COMMANDS if command in arguments]

    class MotionCLI(LightningCLI):
        """Refuses what cannot work before the model loads, adds the evaluation to the trainer's callbacks, and hands the resolved
        configuration to the run's ``result.json``."""

        @staticmethod
        def subcommands() -> dict[str, set[str]]:
            """Of Lightning's four, those that are named: making the parser of each takes as long as all else."""
            every = LightningCLI.subcommands()
            return {command: every[command] for command in named}

        def add_arguments_to_parser(self, parser: Any) -> None:
            parser.add_class_arguments(EvaluationConfig, "evaluation")

        def before_instantiate_classes(self) -> None:
            config = _plain(self.config[self.subcommand] if self.subcommand else self.config)
            ReferenceDataModule(**config["data"])
            for noise in config["data"]["noises"]:
                INITIAL_NOISES.parse(noise, "data.noises")
            if self.subcommand != "predict":
                check_evaluation(config)

        def after_instantiate_classes(self) -> None:
            config = self.config[self.subcommand] if self.subcommand else self.config
            evaluation = EvaluationCallback(EvaluationConfig(**_plain(config["evaluation"])))
            self.trainer.callbacks.insert(0, evaluation)  # type: ignore[attr-defined]  # before what writes its scores
            for callback in self.trainer.callbacks:  # type: ignore[attr-defined]
                if isinstance(callback, ResultCallback):
                    callback.config = {key: _plain(config[key]) for key in SECTIONS if key in config}
                    if callback.config["model"]["embedding"]:  # it brings its own motion
                        callback.config["model"]["motion"] = self.model.motion_config.to_dict()

        def after_fit(self) -> None:
            """Validates what the last step left, where training ended between two validations."""
            trainer: Any = self.trainer
            missed = any(isinstance(each, ResultCallback) and each.scored != trainer.global_step for each in trainer.callbacks)
            if missed and not trainer.fast_dev_run and trainer.limit_val_batches != 0:
                trainer.validate(self.model, datamodule=self.datamodule, verbose=False)

    parser: dict[str, Any] = {**{command: _defaults() for command in named}, "exit_on_error": False} if run else _defaults()
    return MotionCLI(
        MotionInversion, ReferenceDataModule, args=arguments, run=run, parser_kwargs=parser, save_config_kwargs={"overwrite": True}
    )


def resolve(arguments: list[str]) -> dict[str, Any]:
    """The complete configuration that ``arguments`` stand for, as plain data; loads no weights and makes nothing.

    Raises:
        ValueError: in one line, what the parser refuses.
    """
    from jsonargparse import ArgumentError

    from motion_ablation.data.reference import ReferenceDataModule
    from motion_ablation.metrics import EvaluationConfig
    from motion_ablation.module import MotionInversion

    check_keys(arguments, MotionInversion, ReferenceDataModule, EvaluationConfig)
    parser = _parser()
    try:
        resolved: dict[str, Any] = json.loads(parser.dump(parser.parse_args(arguments), format="json", skip_unset=False))
    except ArgumentError as error:
        raise ValueError(reason(str(error))) from error
    return resolved


def _defaults() -> dict[str, Any]:
    return {"default_config_files": [str(DEFAULTS)], "default_env": False, "exit_on_error": False}


@cache
def _parser() -> Any:
    """LightningCLI's parser without subcommands; made once, as making it takes longer than parsing."""
    from lightning.pytorch.cli import LightningCLI

    from motion_ablation.data.reference import ReferenceDataModule
    from motion_ablation.metrics import EvaluationConfig
    from motion_ablation.module import MotionInversion

    class Parsed(LightningCLI):
        """Stops once the arguments are parsed."""

        def add_arguments_to_parser(self, parser: Any) -> None:
            parser.add_class_arguments(EvaluationConfig, "evaluation")

        def _set_seed(self) -> None:
            pass

        def instantiate_classes(self) -> None:
            pass

    return Parsed(MotionInversion, ReferenceDataModule, args=[], run=False, parser_kwargs=_defaults()).parser


def check_evaluation(config: dict[str, Any]) -> None:
    """Refuses a configuration whose videos could not be scored; see ``EvaluationConfig.check`` for what it raises."""
    from motion_ablation.metrics import EvaluationConfig

    evaluation = EvaluationConfig(**config["evaluation"])
    evaluation.check_frames(config["data"]["frames"])
    evaluation.check(config["model"]["backbone"]["source"])


def check_keys(arguments: list[str], model: Any = None, data: Any = None, evaluation: Any = None) -> None:
    """Refuses an unknown key in the arguments or their files with ``ValueError``.

    Args:
        model, data, evaluation: the classes that these sections configure; without one, ``model`` and ``data`` hold any key, and there is
            no ``evaluation``.
    """
    from lightning.pytorch import Trainer
    from lightning.pytorch.cli import LightningCLI

    # Lightning's advice against arguments that are handed over is of no use to who typed them.
    warnings.filterwarnings("ignore", message="LightningCLI's args parameter is intended")
    # The backbone is frozen and stays in evaluation mode; an experiment without motion has nothing to optimise.
    warnings.filterwarnings("ignore", message=r"Found \d+ module\(s\) in eval mode")
    warnings.filterwarnings("ignore", message=r"`LightningModule.configure_optimizers` returned `None`")
    keys: dict[str, Any] = dict.fromkeys(("config", "seed_everything", "optimizer", "lr_scheduler"))
    keys |= {"trainer": Trainer, "model": model, "data": data} | ({"evaluation": evaluation} if evaluation else {})
    for command, given in LightningCLI.subcommands().items():
        if command in arguments[:1]:
            keys |= dict.fromkeys(name for name in inspect.signature(getattr(Trainer, command)).parameters if name not in {"self", *given})
    check_arguments(arguments, keys)


def _plain(value: Any) -> Any:
    """A jsonargparse namespace as plain dictionaries and lists."""
    if hasattr(value, "as_dict"):
        return value.as_dict()
    return value
