"""``lightning``: LightningCLI with the paper's method on the built-in backbone as its defaults."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

DEFAULTS = Path(__file__).parent / "defaults.yaml"
COMMANDS = ("fit", "validate", "test", "predict")
USAGE = """usage: lightning {fit,validate,test,predict} [--config FILE]... [--key value]...

Trains and evaluates motion embeddings (motion_ablation).
  lightning fit --config experiments/mqk_partial.yaml      train one experiment and score it
  lightning predict --config ... --model.embedding FILE    write videos from a trained embedding
  lightning fit --help                                     every option
  lightning fit --print_config                             the configuration that would run
Whole studies: motion-ablation --help. Lightning's cluster tool: fabric --help.
"""


def pretrains(arguments: list[str]) -> bool:
    """Whether a ``--config`` among the arguments names its own model class, as ``experiments/pretrain`` does."""
    import yaml

    files = [b for a, b in zip(arguments, arguments[1:], strict=False) if a in ("-c", "--config")]
    files += [a.split("=", 1)[1] for a in arguments if a.startswith("--config=")]
    for file in files:
        try:
            config = yaml.safe_load(Path(file).read_text())
        except (OSError, yaml.YAMLError):
            continue  # the parser itself reports it
        if isinstance(config, dict) and isinstance(config.get("model"), dict) and "class_path" in config["model"]:
            return True
    return False


def make_cli(arguments: list[str] | None, run: bool = True) -> Any:
    """Parses ``arguments`` and, if ``run``, executes the subcommand; else instantiates model, data and trainer only."""
    from lightning.pytorch.cli import LightningCLI

    from motion_ablation.callbacks import ResultCallback
    from motion_ablation.data.reference import ReferenceDataModule
    from motion_ablation.module import MotionInversion

    class MotionCLI(LightningCLI):
        """Hands the resolved configuration to the run's ``result.json``."""

        def after_instantiate_classes(self) -> None:
            config = self.config[self.subcommand] if self.subcommand else self.config
            for callback in self.trainer.callbacks:
                if isinstance(callback, ResultCallback):
                    keep = ("seed_everything", "model", "data")
                    callback.config = {key: _plain(config[key]) for key in keep if key in config}

    defaults = {"default_config_files": [str(DEFAULTS)], "default_env": False}
    parser = {command: defaults for command in COMMANDS} if run else defaults
    return MotionCLI(
        MotionInversion, ReferenceDataModule, args=arguments, run=run, parser_kwargs=parser, save_config_kwargs={"overwrite": True}
    )


def _plain(value: Any) -> Any:
    """A jsonargparse namespace as plain dictionaries and lists."""
    if hasattr(value, "as_dict"):
        return value.as_dict()
    return value


def main(arguments: list[str] | None = None) -> None:
    """Entry point of ``lightning``."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if not arguments or arguments[0] in ("-h", "--help"):
        print(USAGE)
        return
    if not any(command in arguments for command in COMMANDS):
        print(f"lightning: '{arguments[0]}' is not a command.\n\n{USAGE}", file=sys.stderr)
        raise SystemExit(2)
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    if pretrains(arguments):
        from lightning.pytorch.cli import LightningCLI

        LightningCLI(args=arguments, save_config_kwargs={"overwrite": True})
        return
    try:
        make_cli(arguments)
    except (ValueError, FileNotFoundError, FloatingPointError, OSError) as error:
        if os.environ.get("MOTION_ABLATION_TRACEBACK"):
            raise
        print(f"lightning: {error}\n(set MOTION_ABLATION_TRACEBACK=1 for the traceback)", file=sys.stderr)
        raise SystemExit(1) from None


if __name__ == "__main__":
    main()
