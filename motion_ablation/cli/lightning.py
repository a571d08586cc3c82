"""``lightning``: LightningCLI with the paper's method on the built-in backbone as its defaults."""

from __future__ import annotations

import os
import sys
from itertools import pairwise
from pathlib import Path

from motion_ablation.configure.keys import reason
from motion_ablation.configure.parse import COMMANDS, check_keys, make_cli

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

    files = [b for a, b in pairwise(arguments) if a in ("-c", "--config")]
    files += [a.split("=", 1)[1] for a in arguments if a.startswith("--config=")]
    for file in files:
        try:
            config = yaml.safe_load(Path(file).read_text())
        except (OSError, yaml.YAMLError):
            continue  # the parser itself reports it
        if isinstance(config, dict) and isinstance(config.get("model"), dict) and "class_path" in config["model"]:
            return True
    return False


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
    from jsonargparse import ArgumentError

    try:
        if pretrains(arguments):
            from lightning.pytorch.cli import LightningCLI

            check_keys(arguments)
            kwargs = {**{command: {"exit_on_error": False} for command in COMMANDS}, "exit_on_error": False}
            LightningCLI(args=arguments, parser_kwargs=kwargs, save_config_kwargs={"overwrite": True})
        else:
            make_cli(arguments)
    except (ArgumentError, ValueError, FileNotFoundError, FloatingPointError, OSError) as error:
        if os.environ.get("MOTION_ABLATION_TRACEBACK"):
            raise
        print(f"lightning: {reason(str(error))}\n(set MOTION_ABLATION_TRACEBACK=1 for the traceback)", file=sys.stderr)
        raise SystemExit(1) from None


if __name__ == "__main__":
    main()
