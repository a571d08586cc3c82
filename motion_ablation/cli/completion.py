"""Completion by the shell's Tab key, where the extra ``completion`` is installed: commands, options, shipped files and one's own.

The shell runs the command with ``_ARGCOMPLETE`` set and the line so far in ``COMP_LINE``, and takes what argcomplete answers. The
options of an experiment are the keys of ``defaults.yaml``: LightningCLI's own parser would need every model library for a key press.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from typing import Any

from motion_ablation.configure.documents import read_yaml
from motion_ablation.configure.parse import COMMANDS, DEFAULTS
from motion_ablation.configure.shipped import FOLDER


def words() -> list[str] | None:
    """The words typed so far, without the program's name; None where no shell asks for completion."""
    return os.environ.get("COMP_LINE", "").split()[1:] if "_ARGCOMPLETE" in os.environ else None


def answer(parser: argparse.ArgumentParser) -> None:
    """Answers the shell by the parser's own commands and options, and ends the process."""
    import argcomplete

    argcomplete.autocomplete(parser)


def experiment_parser() -> argparse.ArgumentParser:
    """A parser of ``lightning``'s commands with the keys of the defaults as options, for :func:`answer` only."""
    parser = argparse.ArgumentParser()
    parser.add_argument("command", choices=COMMANDS)
    config: Any = parser.add_argument("--config", "-c")
    config.completer = experiments
    for key in ("ckpt_path", "print_config", *_keys(read_yaml(DEFAULTS))):
        parser.add_argument(f"--{key}")
    return parser


def cards(prefix: str, **_: Any) -> list[str]:
    """The shipped cards, and files and folders, that begin so."""
    return _shipped("studies/*.yaml", prefix)


def experiments(prefix: str, **_: Any) -> list[str]:
    """The shipped experiments and backbones, and files and folders, that begin so."""
    return [*_shipped("*.yaml", prefix), *_shipped("backbones/*.yaml", prefix)]


def _shipped(pattern: str, prefix: str) -> list[str]:
    from argcomplete.completers import FilesCompleter

    names = sorted(path.stem for path in FOLDER.glob(pattern))
    return [*(name for name in names if name.startswith(prefix)), *FilesCompleter()(prefix)]


def _keys(section: dict[str, Any], place: str = "") -> Iterator[str]:
    """The dotted keys of a configuration, sections too."""
    for name, value in section.items():
        yield f"{place}{name}"
        if isinstance(value, dict):
            yield from _keys(value, f"{place}{name}.")
