"""The code of each step from a reference to its scores, as a hash: part of every artefact's address, so that edited code is run again.

What counts are definitions: the functions, classes and constants that a step's own use, at any depth, wherever they are. What stands beside
them in a file, such as a writer of pictures beside a reader of videos, may change, and nothing runs again.
"""

from __future__ import annotations

import ast
import hashlib
import sys
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT.name

# Step -> the modules that its code starts from, with all that they define. The registered entries that a configuration names (its
# backbone, layouts, integrations, metrics, ...) belong to it too: one that it does not name may change, or be new, and nothing runs again.
STEPS: dict[str, tuple[str, ...]] = {
    "latents": ("backbones.base",),
    "inverted": ("backbones.base",),
    "embedding": ("module", "data.reference"),
    "video": ("generating",),
    "score": ("metrics.base",),
    "result": ("module", "data.reference", "callbacks"),
}
# What stores, finds and refuses, but computes nothing.
APART = {
    f"{PACKAGE}.{name}"
    for name in (
        "cache.artefacts", "cache.stores", "cache.code", "cache.addresses", "registry", "files", "weights", "configure.keys",
        "motion.sharing",
    )
}  # fmt: skip
# What a step's modules use too, but only once it is over.
LATER = {"embedding": {f"{PACKAGE}.generating"}}
ALL = "*"  # in place of a name: everything that a module defines or imports
RUN = ""  # in place of a name: the statements of a module that define nothing, which run when it is imported


class Symbol(NamedTuple):
    """A definition of a module, by its name, or :data:`ALL` or :data:`RUN`."""

    module: str
    name: str


class Parsed(NamedTuple):
    """A module's statements by the name that they define, and what its imports are names of: a module and a name in it."""

    defined: dict[str, list[ast.stmt]]
    imported: dict[str, Symbol]


def code_of(step: str, *entries: Any) -> str:
    """Hash of the code of a step of :data:`STEPS`, without comments, docstrings, annotations of functions, and layout; 16 hex digits.

    Args:
        entries: classes or functions that belong to it too. Of one outside this package the whole text of its module counts.
    """
    return _digest(frozenset(roots_of(step, *entries)), frozenset(LATER.get(step, ())))


def roots_of(step: str, *entries: Any) -> set[Symbol]:
    """Where the code of a step starts from."""
    return {Symbol(f"{PACKAGE}.{name}", ALL) for name in STEPS[step]} | {_symbol(entry) for entry in entries}


def _symbol(entry: Any) -> Symbol:
    module, name = entry.__module__, entry.__qualname__
    return Symbol(module, name if module.split(".")[0] == PACKAGE and name in _parsed(module).defined else ALL)


@cache
def _digest(roots: frozenset[Symbol], later: frozenset[str]) -> str:
    digest = hashlib.sha256()
    for symbol in sorted(closure(roots, later)):
        text = "\n".join(ast.unparse(statement) for statement in _statements(symbol))
        digest.update(f"{symbol.module} {symbol.name}\n{text}\n".encode())
    return digest.hexdigest()[:16]


def closure(roots: Iterable[Symbol], later: Iterable[str] = ()) -> set[Symbol]:
    """The definitions that ``roots`` use, at any depth, and these in turn; nothing of the modules ``later``."""
    found: set[Symbol] = set()
    ahead, apart = set(roots), APART | set(later)
    while ahead:
        symbol = ahead.pop()
        if symbol.module in apart:
            continue
        found.add(symbol)
        if symbol.module.split(".")[0] == PACKAGE:
            used = {Symbol(symbol.module, RUN), *_used(symbol)}
            if symbol.name == ALL:
                parsed = _parsed(symbol.module)
                used |= {Symbol(symbol.module, name) for name in parsed.defined} | {_origin(each) for each in parsed.imported.values()}
            ahead |= used - found
    return found


def source_of(module: str) -> str:
    """A module's text; empty for one without any, such as an interactive session."""
    path = _path(module)
    return path.read_text(encoding="utf-8") if path else ""


def _path(module: str) -> Path | None:
    first, *rest = module.split(".")
    if first == PACKAGE:
        place = ROOT.joinpath(*rest)
        own = [path for path in (place.with_suffix(".py"), place / "__init__.py") if rest and path.is_file()]
        if own or not rest:
            return own[0] if own else None
    file = getattr(sys.modules.get(module), "__file__", None)  # a package that is in several folders, or another package
    return Path(file) if file and file.endswith(".py") and Path(file).is_file() else None


@cache
def _parsed(module: str) -> Parsed:
    found = Parsed({}, {})
    path = _path(module)
    for statement in _bare(ast.parse(source_of(module))).body:
        if isinstance(statement, ast.Import | ast.ImportFrom):
            found.imported.update(_imports(statement, module, path is not None and path.name == "__init__.py"))
        else:
            for name in _names_defined(statement) or [RUN]:
                found.defined.setdefault(name, []).append(statement)
    return found


def _names_defined(statement: ast.stmt) -> list[str]:
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return [statement.name]
    targets = statement.targets if isinstance(statement, ast.Assign) else [getattr(statement, "target", None)]
    assigns = isinstance(statement, ast.Assign | ast.AnnAssign | ast.AugAssign)
    return [node.id for target in targets if assigns and target for node in ast.walk(target) if isinstance(node, ast.Name)]


def _imports(statement: ast.Import | ast.ImportFrom, module: str, is_package: bool) -> Iterator[tuple[str, Symbol]]:
    """The names that an import gives, those of this package only."""
    if isinstance(statement, ast.Import):
        for alias in statement.names:
            if alias.name.split(".")[0] == PACKAGE:
                yield alias.asname or PACKAGE, Symbol(alias.name, ALL)
        return
    parts = module.split(".")
    up = parts[: len(parts) - statement.level + is_package] if statement.level else []
    base = ".".join([*up, *([statement.module] if statement.module else [])])
    if base.split(".")[0] == PACKAGE:
        for alias in statement.names:
            yield alias.asname or alias.name, Symbol(base, alias.name)


def _origin(symbol: Symbol) -> Symbol:
    """Where an imported name is defined: packages pass names on."""
    parsed = _parsed(symbol.module)
    if symbol.name == ALL or symbol.name in parsed.defined:
        return symbol
    if symbol.name in parsed.imported and parsed.imported[symbol.name] != symbol:
        return _origin(parsed.imported[symbol.name])
    inner = f"{symbol.module}.{symbol.name}"
    return Symbol(inner if _path(inner) else symbol.module, ALL)


def _statements(symbol: Symbol) -> list[ast.stmt]:
    path = _path(symbol.module)
    if symbol.name == ALL:  # of this package, each definition is a symbol of its own
        return [] if symbol.module.split(".")[0] == PACKAGE or not path else _bare(ast.parse(source_of(symbol.module))).body
    return _parsed(symbol.module).defined.get(symbol.name, [])


@cache
def _used(symbol: Symbol) -> frozenset[Symbol]:
    """Definitions of this package that a definition names in its text."""
    parsed, path = _parsed(symbol.module), _path(symbol.module)
    nodes = [node for statement in _statements(symbol) for node in ast.walk(statement)]
    imported = dict(parsed.imported)
    for node in nodes:
        if isinstance(node, ast.Import | ast.ImportFrom):
            imported.update(_imports(node, symbol.module, path is not None and path.name == "__init__.py"))
    found, of_modules = set(), set()
    for node in nodes:
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in imported:
            origin = _origin(imported[node.value.id])
            if origin.name == ALL:
                found.add(_origin(Symbol(origin.module, node.attr)))
                of_modules.add(node.value)
    for node in nodes:
        if isinstance(node, ast.Name) and node not in of_modules:
            if node.id in imported:
                found.add(_origin(imported[node.id]))
            elif node.id in parsed.defined:
                found.add(Symbol(symbol.module, node.id))
    return frozenset(found)


def _bare(tree: ast.Module) -> ast.Module:
    """A module without docstrings and without the annotations of its functions."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            node.returns = None
        if isinstance(node, ast.arg):
            node.annotation = None
        documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
        if isinstance(node, documented) and node.body and ast.get_docstring(node, clean=False) is not None:
            node.body = node.body[1:] or [ast.Pass()]
    return tree
