"""``motion-ablation``: runs ablation cards and reports on them; ``cli.tools`` has its other commands."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from motion_ablation.cli import completion
from motion_ablation.cli.lightning import main as lightning
from motion_ablation.cli.tools import add_tools, positive
from motion_ablation.configure.parse import COMMANDS
from motion_ablation.configure.shipped import DOCS, find_file

if TYPE_CHECKING:
    from motion_ablation.study.plan.study import Study

EPILOG = f"""single experiments: motion-ablation {{fit,validate,test,predict}} ..., which is also installed as `lightning`
documentation: {DOCS}
completion by Tab, once motion-ablation[completion] is installed: eval "$(register-python-argcomplete motion-ablation lightning)"

examples:
  motion-ablation fit --config experiments/mqk_partial.yaml
  motion-ablation run experiments/studies/integration.yaml
  motion-ablation run experiments/studies/*.yaml --references my_clip.mp4 --prompts "a cat on a sofa" --seeds 0 1 2
  motion-ablation run CARD --config experiments/backbones/zeroscope.yaml     every experiment on another backbone
  motion-ablation show experiments/studies/*.yaml                             what would run, and what it costs
  motion-ablation status results/integration                                  which runs are done, failed or missing
  motion-ablation score my_clip.mp4 generated/*.mp4 --prompt "a cat on a sofa"  any method's videos, every metric
  motion-ablation report results/integration                                 tables and sheets again, without running
  tensorboard --logdir results"""


def main(arguments: list[str] | None = None) -> None:
    """Entry point of ``motion-ablation``. Exits with 1 if a run failed, with 2 for a mistake in what was asked."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    typed = completion.words()
    arguments = (sys.argv[1:] if arguments is None else arguments) if typed is None else typed
    if arguments and arguments[0] in COMMANDS:
        lightning(arguments)
        return
    parser = _parser()
    if typed is not None:
        completion.answer(parser)
    options = parser.parse_args(arguments)
    command: Callable[[argparse.Namespace], int] = options.command
    try:
        code = command(options)
    except KeyboardInterrupt:
        print("\nmotion-ablation: stopped; the same command goes on from the finished runs", file=sys.stderr)
        code = 130
    except (ValueError, OSError, RuntimeError) as error:
        if os.environ.get("MOTION_ABLATION_TRACEBACK"):
            raise
        print(f"motion-ablation: {' '.join(str(error).split())}", file=sys.stderr)
        code = 2
    if code:
        raise SystemExit(code)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="motion-ablation",
        description="Ablation studies of motion embeddings.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    _add_run(commands)
    _add_looks(commands)
    add_tools(commands)

    return parser


def _add_run(commands: Any) -> None:
    run = commands.add_parser("run", help="run the experiments of ablation cards and write their table")
    run.set_defaults(command=_run)
    _add_study_options(run)
    run.add_argument("--workers", type=positive, help="runs at a time (2 on a CPU with 2 cores or more, 1 on an accelerator)")
    run.add_argument(
        "--cluster",
        nargs="?",
        const="auto",
        metavar="ADDRESS",
        help="run on Ray: a cluster's address; without one, a running cluster, or else this machine",
    )
    run.add_argument("--gpus-per-run", type=float, help="on Ray: 0.5 for two runs on a GPU (1 where there are GPUs, else 0)")
    run.add_argument("--cpus-per-run", type=float, default=1.0, help="on Ray: cores, and threads, of a run (1)")


def _add_looks(commands: Any) -> None:
    show = commands.add_parser("show", help="tell what ablation cards would run, and what it costs, without running anything")
    show.set_defaults(command=_show)
    _add_study_options(show)

    status = commands.add_parser("status", help="tell which runs are done, running, failed, stale or missing")
    status.set_defaults(command=_status)
    _add_study_options(status, "STUDY|CARD", "folders of studies, as they were planned; or ablation cards, as `run` would plan them now")

    clean = commands.add_parser("clean", help="remove kept latents, noises, embeddings and videos that no study needs; no results")
    clean.set_defaults(command=_clean)
    clean.add_argument("studies", nargs="*", metavar="STUDY", help="folders of studies, besides those found beneath results/")
    clean.add_argument("--cache", default="cache", help="the folder that model.cache names (%(default)s)")
    clean.add_argument("--dry-run", action="store_true", help="show what would be removed, file by file, and remove nothing")

    report = commands.add_parser("report", help="write a study's table and sheets again, without running anything")
    report.set_defaults(command=_report)
    report.add_argument("study", help="the study's folder, such as results/integration")


def _add_study_options(
    parser: argparse.ArgumentParser, what: str = "CARD", meaning: str = "ablation cards, such as experiments/studies/integration.yaml"
) -> None:
    cards: Any = parser.add_argument("cards", nargs="+", metavar=what, help=meaning)
    cards.completer = completion.cards
    parser.add_argument("--output", help="the study's folder (results/CARD, several cards joined by +)")
    parser.add_argument("--references", nargs="+", help="videos, manifests, builtin:NAME or builtin (builtin)")
    parser.add_argument("--shown", nargs="+", default=[], help="more references: sheets show them, no table counts them")
    parser.add_argument("--config", nargs="+", action="extend", default=[], metavar="FILE", help="configuration beneath every experiment")
    parser.add_argument("--steps", type=positive, help="training steps of every run")
    parser.add_argument("--seeds", nargs="+", type=int, help="generation seeds")
    parser.add_argument("--prompts", nargs="+", help="texts to generate with")
    parser.add_argument("--train-seeds", nargs="+", type=int, help="train every experiment once with each (the configuration's seed)")


def _study(options: argparse.Namespace) -> Study:
    """The study that the options ask for, planned."""
    from motion_ablation.study.plan.cards import read_card
    from motion_ablation.study.plan.planning import Options, make_study
    from motion_ablation.study.run.quiet import quiet

    cards = [read_card(path) for path in dict.fromkeys(options.cards)]
    folder = Path(options.output or Path("results") / "+".join(dict.fromkeys(card.path.stem for card in cards)))
    with quiet():
        wanted = Options(
            options.references,
            [str(find_file(file)) for file in options.config],
            options.steps,
            options.seeds,
            options.prompts,
            options.train_seeds,
            options.shown,
        )
        return make_study(cards, folder, wanted)


def _show(options: argparse.Namespace) -> int:
    from motion_ablation.study.plan.costs import describe

    print(describe(_study(options)))
    return 0


def _run(options: argparse.Namespace) -> int:
    from motion_ablation.study.report.summary import print_summary
    from motion_ablation.study.report.write import write_report
    from motion_ablation.study.run.cluster import Cluster
    from motion_ablation.study.run.runner import default_workers, run_study

    study = _study(options)
    if options.cluster:
        with Cluster(study.folder, options.cluster, options.gpus_per_run, options.cpus_per_run, options.workers) as cluster:
            complete = run_study(study, cluster.workers, cluster.run_all)
    else:
        complete = run_study(study, options.workers or default_workers())
    try:
        report = write_report(study)
    except OSError as error:
        again = f"motion-ablation report {study.folder}"
        print(f"motion-ablation: the runs are kept, but their report could not be written: {error}; again: {again}", file=sys.stderr)
        return 1
    print_summary(report, study.folder)
    return 0 if complete else 1


def _status(options: argparse.Namespace) -> int:
    from motion_ablation.study.plan.study import Study
    from motion_ablation.study.run.status import describe_status

    studies = [Study.load(path) for path in options.cards if Path(path).is_dir()]
    options.cards = [path for path in options.cards if not Path(path).is_dir()]
    text, complete = describe_status([*studies, *([_study(options)] if options.cards else [])])
    print(text)
    return 0 if complete else 1


def _clean(options: argparse.Namespace) -> int:
    from motion_ablation.study.plan.study import Study
    from motion_ablation.study.run.clean import describe_waste, find_studies, find_waste, remove

    for folder in options.studies:
        Study.load(folder)  # a mistyped folder must not make its artefacts waste
    studies = find_studies(["results", *options.studies])
    waste = find_waste(Path(options.cache), studies)
    if not options.dry_run:
        remove(waste)
    print(describe_waste(waste, studies, options.dry_run))
    return 0


def _report(options: argparse.Namespace) -> int:
    from motion_ablation.study.plan.study import Study
    from motion_ablation.study.report.write import markdown, write_report

    study = Study.load(options.study)
    print(f"{markdown(write_report(study))}\n{_places(study.folder)}")
    return 0


def _places(folder: Path) -> str:
    return (
        f"{folder}: report.html (all of it in one page), table.md and .tex, scores.csv and .parquet, figures/, sheets/ (videos), "
        "EXPERIMENT/REFERENCE/ (all of a run); "
        f"compare the runs with: tensorboard --logdir {folder}"
    )


if __name__ == "__main__":
    main()
