"""The commands that meet the rest of the field: sets into manifests, plans into cards, published rows beside ours."""

from __future__ import annotations

import argparse
from typing import Any


def add_benchmarks(commands: Any) -> None:
    """Adds the commands to a parser's."""
    manifest = commands.add_parser("manifest", help="turn a downloaded benchmark set into a manifest, for --references")
    manifest.set_defaults(command=_manifest)
    manifest.add_argument("set", help="davis, ditflow, motion_inversion, mtbench or tgve; their layouts are in docs/manifests.md")
    manifest.add_argument("folder", help="the set, as downloaded")
    manifest.add_argument("--output", help="the manifest (SET.jsonl)")


def _manifest(options: argparse.Namespace) -> int:
    from motion_ablation.data.sets import manifest_rows, write_manifest

    rows = manifest_rows(options.set, options.folder)
    output = options.output or f"{options.set}.jsonl"
    write_manifest(rows, output)
    prompts, bare = sum(len(row.get("prompts", ())) for row in rows), sum(not row.get("caption") for row in rows)
    print(
        f"{output}: {len(rows)} references, {prompts} prompts" + (f"; {bare} have no caption: write NAME.txt beside each" if bare else "")
    )
    print(f"use it with --references {output}")
    return 0
