"""One small registry; each axis of the ablation space is one instance of it, and each file of its package one entry."""

from __future__ import annotations

import inspect
import pkgutil
from collections.abc import Callable, Iterable, Iterator
from difflib import get_close_matches
from importlib import import_module
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class UnknownName(ValueError):
    """A name that a registry does not hold; the message lists the names that it does."""


class Registry(Generic[T]):
    """Named entries of one axis. They are found by themselves: a new file in the package needs no line anywhere else.

    Args:
        axis: what the entries are, in the singular; used in messages (``"layout"``).
        package: the package whose modules register the entries; all are imported at the first look-up.
        given: parameters that the code supplies, not a user; left out of messages.
    """

    def __init__(self, axis: str, package: str, given: tuple[str, ...] = ()) -> None:
        self.axis = axis
        self.given = given
        self._package = package
        self._loaded = False
        self._entries: dict[str, T] = {}

    def register(self, name: str) -> Callable[[T], T]:
        """Decorator that files an entry under ``name``. Raises ``ValueError`` if the name is taken."""

        def add(entry: T) -> T:
            if name in self._entries:
                raise ValueError(f"{self.axis} '{name}' is registered twice: {self._entries[name]!r} and {entry!r}")
            self._entries[name] = entry
            return entry

        return add

    def _load(self) -> dict[str, T]:
        if not self._loaded:
            package = import_module(self._package)
            for module in pkgutil.iter_modules(getattr(package, "__path__", [])):
                if not module.ispkg:
                    import_module(f"{self._package}.{module.name}")
            self._loaded = True  # not before: a file that cannot be imported is told at every look-up
        return self._entries

    def names(self) -> list[str]:
        """Every registered name, sorted."""
        return sorted(self._load())

    def __contains__(self, name: object) -> bool:
        return name in self._load()

    def __iter__(self) -> Iterator[str]:
        return iter(self.names())

    def __getitem__(self, name: str) -> T:
        entries = self._load()
        if name not in entries:
            close = get_close_matches(str(name), entries, n=1)
            hint = f" Did you mean '{close[0]}'?" if close else ""
            raise UnknownName(f"unknown {self.axis} '{name}'.{hint} Choices: {', '.join(sorted(entries))}")
        return entries[name]

    def describe(self, name: str) -> str:
        """First line of the entry's docstring."""
        return (inspect.getdoc(self[name]) or "").split("\n")[0]

    def options(self, name: str) -> list[str]:
        """Names of the options that an entry takes from a user."""
        entry: Any = self[name]
        several = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)  # of a class that declares no options of its own
        parameters = inspect.signature(entry).parameters.items()
        return [key for key, parameter in parameters if key not in self.given and parameter.kind not in several]

    def check_options(self, name: str, options: Iterable[str]) -> None:
        """Refuses an unknown name, or an option that the entry does not take, listing the valid ones."""
        takes = self.options(name)
        unknown = [key for key in options if key not in takes]
        if unknown:
            valid = ", ".join(takes) or "none"
            raise UnknownName(f"{self.axis} '{name}' has no option '{unknown[0]}'. Options: {valid}")

    def parse(self, spec: Any, where: str) -> tuple[str, dict[str, Any]]:
        """Splits a name, or ``{name: ..., **options}``, and refuses what the axis does not know, naming the place in the YAML."""
        spec = {"name": spec} if isinstance(spec, str) else spec
        if not isinstance(spec, dict) or not isinstance(spec.get("name"), str):
            raise ValueError(f"{where}: give a {self.axis} as {{name: ...}}. Choices: {', '.join(self)}")
        options = {key: value for key, value in spec.items() if key != "name"}
        try:
            self.check_options(spec["name"], options)
        except ValueError as error:
            raise ValueError(f"{where}: {error}") from None
        return spec["name"], options

    def build(self, name: str, /, **options: Any) -> Any:
        """Calls the entry with ``options``; an unknown option is refused with the valid ones listed."""
        self.check_options(name, options.keys() - set(self.given))
        entry: Any = self[name]
        try:
            return entry(**options)
        except TypeError as error:  # an option of the wrong type
            raise ValueError(f"{self.axis} '{name}': {error}") from error
