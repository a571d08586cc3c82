"""The commands that meet the rest of the field: sets into manifests, plans into cards, published rows beside ours."""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path
from typing import Any

from motion_ablation.configure.shipped import FOLDER


def add_benchmarks(commands: Any) -> None:
    """Adds the commands to a parser's."""
    manifest = commands.add_parser("manifest", help="turn a downloaded benchmark set into a manifest, for --references")
    manifest.set_defaults(command=_manifest)
    manifest.add_argument("set", help="davis, ditflow, motion_inversion, mtbench or tgve; their layouts are in docs/manifests.md")
    manifest.add_argument("folder", help="the set, as downloaded")
    manifest.add_argument("--output", help="the manifest (SET.jsonl)")

    plan = commands.add_parser("plan", help="turn an ablation plan in AblationBench's format into skeletons of cards")
    plan.set_defaults(command=_plan)
    plan.add_argument("plan", help="JSON, JSON Lines, or the Markdown of a trajectory")
    plan.add_argument("--experiments", default="experiments", help="folder of the experiments to choose from (%(default)s)")
    plan.add_argument("--output", help="folder for the cards, such as experiments/studies (they are printed)")

    compare = commands.add_parser("compare", help="show published rows, beside a study's own where it has been run")
    compare.set_defaults(command=_compare)
    compare.add_argument("table", help="a YAML file, or a shipped one by its name: motion_inversion, ditflow_2b, ditflow_5b")
    compare.add_argument("--study", help="the study's folder, such as results/methods")


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


def _plan(options: argparse.Namespace) -> int:
    from motion_ablation.study.plan.cards import CardError
    from motion_ablation.study.plan.proposals import read_plan, skeleton

    experiments = Path(options.experiments)
    if not experiments.is_dir():
        if options.experiments != "experiments":
            raise CardError(f"{experiments}: no such folder")
        experiments = FOLDER
    for proposal in read_plan(options.plan):
        found = skeleton(proposal, experiments)
        if not options.output:
            print(found.to_yaml())
            continue
        file = Path(options.output) / f"{re.sub(r'[^a-z0-9]+', '_', proposal.name.lower()).strip('_')}.yaml"
        if file.exists():
            raise CardError(f"{file}: is there already; remove it, or choose another --output")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(found.to_yaml(), encoding="utf-8")
        print(f"{file}: {', '.join(found.card['replacements']) or 'no experiment found'}")
        for text in found.missing:
            print(f"  no experiment yet: {text}", file=sys.stderr)
    return 0


def _compare(options: argparse.Namespace) -> int:
    from motion_ablation.study.plan.study import Study
    from motion_ablation.study.report.published import compare, read_published

    table = read_published(options.table)
    print(compare(table, Study.load(options.study) if options.study else None))
    return 0
