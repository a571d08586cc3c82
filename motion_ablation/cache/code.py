"""The code of each step from a reference to its scores, as a hash: part of every artefact's address, so that edited code is run again."""

from __future__ import annotations

import ast
import hashlib
import sys
from functools import cache
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT.name

# Step -> the modules that its code starts from. What these import belongs to it, and so do the registered entries that a configuration
# names (its backbone, layouts, integrations, metrics, ...): an entry that it does not name may change, or be new, and nothing runs again.
STEPS: dict[str, tuple[str, ...]] = {
    "latents": ("backbones.base",),
    "inverted": ("backbones.base",),
    "embedding": ("module",),
    "video": ("generating",),
    "score": ("metrics.base",),
    "result": ("module", "callbacks"),
}
# What stores, finds and refuses, but computes nothing.
APART = {
    f"{PACKAGE}.{name}"
    for name in ("cache.artefacts", "cache.stores", "cache.code", "cache.addresses", "registry", "errors", "configure.keys")
}


def code_of(step: str, *entries: Any) -> str:
    """Hash of the code of a step of :data:`STEPS`: the text of its modules without comments, docstrings and layout; 16 hex digits.

    Args:
        entries: classes or functions whose modules belong to it too. Of a module outside this package its own text counts alone.
    """
    modules = {f"{PACKAGE}.{name}" for name in STEPS[step]} | {entry.__module__ for entry in entries}
    return _digest(frozenset(modules))


@cache
def _digest(roots: frozenset[str]) -> str:
    digest = hashlib.sha256()
    for module in sorted(closure(roots)):
        digest.update(f"{module}\n{ast.unparse(_without_docstrings(_tree(module)))}\n".encode())
    return digest.hexdigest()[:16]


def closure(roots: frozenset[str]) -> set[str]:
    """The modules of this package that ``roots`` import, at any depth of the code, and these in turn; a name that a package only passes on
    is followed to the module that has it, so that its other modules are left out."""
    found: set[str] = set()
    ahead = set(roots)
    while ahead:
        module = ahead.pop()
        found.add(module)
        if module.split(".")[0] == PACKAGE:
            ahead |= _imported(module) - found - APART
    return found


def source_of(module: str) -> str:
    """A module's text; empty for one without any, such as an interactive session."""
    path = _path(module)
    return path.read_text(encoding="utf-8") if path else ""


def _path(module: str) -> Path | None:
    first, *rest = module.split(".")
    if first != PACKAGE:
        file = getattr(sys.modules.get(module), "__file__", None)
        return Path(file) if file and file.endswith(".py") and Path(file).is_file() else None
    place = ROOT.joinpath(*rest)
    return next((path for path in (place.with_suffix(".py"), place / "__init__.py") if rest and path.is_file()), None)


@cache
def _tree(module: str) -> ast.Module:
    return ast.parse(source_of(module))


@cache
def _imported(module: str) -> frozenset[str]:
    """Modules of this package that a module imports, each name followed to where it is defined."""
    found = set()
    for node in ast.walk(_tree(module)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = _base(module, node)
            found |= {_origin(base, alias.name) for alias in node.names}
    return frozenset(name for name in found if name.split(".")[0] == PACKAGE and _path(name))


def _base(module: str, node: ast.ImportFrom) -> str:
    """What ``from ... import`` imports from, its dots spelled out."""
    if not node.level:
        return node.module or ""
    path = _path(module)
    up = node.level - (path is not None and path.name == "__init__.py")
    parts = module.split(".")
    return ".".join([*parts[: len(parts) - up], *([node.module] if node.module else [])])


def _origin(base: str, name: str) -> str:
    """The module that ``from base import name`` needs."""
    if base.split(".")[0] != PACKAGE:
        return base
    if _path(f"{base}.{name}"):
        return f"{base}.{name}"
    path = _path(base)
    if path and path.name == "__init__.py":
        for node in _tree(base).body:
            if isinstance(node, ast.ImportFrom):
                for alias in node.names:
                    if name == (alias.asname or alias.name):
                        return _origin(_base(base, node), alias.name)
    return base


def _without_docstrings(tree: ast.Module) -> ast.Module:
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    for node in ast.walk(tree):
        if isinstance(node, documented) and node.body and ast.get_docstring(node, clean=False) is not None:
            node.body = node.body[1:] or [ast.Pass()]
    return tree
