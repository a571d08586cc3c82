"""``lightning``, or ``motion-ablation fit`` and the like: LightningCLI with the paper's method on the built-in backbone as its defaults.

Lightning itself installs no command of this name today. Should it ever, ``motion-ablation`` is the name that is surely ours.
"""

from __future__ import annotations

import os
import re
import sys
from itertools import pairwise
from pathlib import Path

from motion_ablation.cli import completion
from motion_ablation.configure.keys import reason
from motion_ablation.configure.parse import COMMANDS, check_keys, make_cli, resolve
from motion_ablation.configure.shipped import find_file
from motion_ablation.errors import out_of_memory

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
    if completion.words() is not None:
        completion.answer(completion.experiment_parser())
    arguments = _with_shipped([at_home(argument) for argument in (sys.argv[1:] if arguments is None else arguments)])
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
            make_cli(last_checkpoint(arguments))
    except (ArgumentError, ValueError, FileNotFoundError, FloatingPointError, OSError, ModuleNotFoundError) as error:
        if os.environ.get("MOTION_ABLATION_TRACEBACK"):
            raise
        _say(reason(str(error)))
        raise SystemExit(1) from None
    except (RuntimeError, MemoryError) as error:
        memory = out_of_memory(error)
        if memory is None or os.environ.get("MOTION_ABLATION_TRACEBACK"):
            raise
        _say(memory)
        raise SystemExit(1) from None


def _say(what: str) -> None:
    print(f"lightning: {what}\n(set MOTION_ABLATION_TRACEBACK=1 for the traceback)", file=sys.stderr)


def at_home(argument: str) -> str:
    """An argument with its ``~`` spelled out, which a shell does in front of a path only: ``--model.cache=~/cache``."""
    name, _, value = argument.partition("=")
    if argument.startswith("--") and value.startswith("~"):
        return f"{name}={os.path.expanduser(value)}"
    return os.path.expanduser(argument) if argument.startswith("~") else argument


def _with_shipped(arguments: list[str]) -> list[str]:
    """The arguments with every ``--config`` that names a shipped file spelled out."""
    found = list(arguments)
    for place, argument in enumerate(arguments):
        if place and arguments[place - 1] in ("-c", "--config"):
            found[place] = str(find_file(argument))
        elif argument.startswith("--config="):
            found[place] = f"--config={find_file(argument.removeprefix('--config='))}"
    return found


def last_checkpoint(arguments: list[str]) -> list[str]:
    """The arguments with ``--ckpt_path last`` spelled out: the newest ``last.ckpt`` of the runs so far, since every run has a folder of its
    own, in which there is none yet.

    Raises:
        ValueError: if there is none.
    """
    text = " ".join(arguments).replace("--ckpt_path=", "--ckpt_path ")
    if not re.search(r"--ckpt_path last( |$)", text):
        return arguments
    config = resolve([argument for argument in _without_checkpoint(arguments) if argument not in COMMANDS])
    logger = (config["trainer"]["logger"] or {}) if isinstance(config["trainer"]["logger"], dict) else {}
    options = logger.get("init_args", {})
    folder = Path(options.get("save_dir") or config["trainer"]["default_root_dir"] or ".") / str(
        options.get("project") or options.get("name") or ""
    )
    found = sorted(folder.glob("**/last*.ckpt"), key=lambda path: path.stat().st_mtime)
    if not found:
        raise ValueError(f"--ckpt_path last: no last.ckpt beneath {folder}; name a checkpoint, or leave the option out to begin anew")
    print(f"lightning: goes on from {found[-1]}", file=sys.stderr)
    return [*_without_checkpoint(arguments), f"--ckpt_path={found[-1]}"]


def _without_checkpoint(arguments: list[str]) -> list[str]:
    rest = [argument for argument in arguments if not argument.startswith("--ckpt_path=")]
    if "--ckpt_path" in rest:
        place = rest.index("--ckpt_path")
        del rest[place : place + 2]
    return rest


if __name__ == "__main__":
    main()
