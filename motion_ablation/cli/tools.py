"""The commands of ``motion-ablation`` that need no study: what there is, other formats of embeddings, scores, measurements."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from motion_ablation.cli.benchmarks import add_benchmarks
from motion_ablation.configure.shipped import FOLDER


def positive(text: str) -> int:
    """A whole number from 1 up, as an argument."""
    value = int(text) if text.isdigit() else 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1 up")
    return value


def add_tools(commands: Any) -> None:
    """Adds the commands to a parser's."""
    _add_list(commands)
    _add_formats(commands)
    _add_score(commands)
    add_benchmarks(commands)
    _add_measurements(commands)


def _add_list(commands: Any) -> None:
    listing = commands.add_parser("list", help="list experiments, cards, and the entries of every axis")
    listing.set_defaults(command=_list)
    listing.add_argument("experiments", nargs="?", default="experiments", help="folder of experiments (%(default)s)")


def _list(options: argparse.Namespace) -> int:
    from motion_ablation.cli.listing import listing

    folder = Path(options.experiments)
    print(listing(folder if folder.is_dir() or options.experiments != "experiments" else FOLDER))
    return 0


def _add_formats(commands: Any) -> None:
    imported = commands.add_parser("import", help="turn a released motion_embed.pt into a motion.safetensors")
    imported.set_defaults(command=_import)
    imported.add_argument("file", help="the released checkpoint; nothing in it is executed")
    imported.add_argument("--network", default="unet3d", help="the backbone's class, as in motion-ablation list (%(default)s)")
    imported.add_argument("--backbone", default="cerspense/zeroscope_v2_576w", help="diffusers folder or hub id (%(default)s)")
    imported.add_argument("--size", nargs=2, type=positive, default=[320, 576], metavar=("HEIGHT", "WIDTH"), help="of training (320 576)")
    imported.add_argument("--frames", type=positive, help="of training (as far as the checkpoint's rows are not zero)")
    imported.add_argument("--output", default="motion.safetensors", help="the new file (%(default)s)")

    exported = commands.add_parser("export", help="turn a motion.safetensors into the released format, motion_embed.pt")
    exported.set_defaults(command=_export)
    exported.add_argument("file", help="a trained motion.safetensors with the paper's streams")
    exported.add_argument("--output", default="motion_embed.pt", help="the new file (%(default)s)")


def _import(options: argparse.Namespace) -> int:
    from motion_ablation.backbones import BACKBONES
    from motion_ablation.motion.released import from_released, read_released, trained_length

    tensors = read_released(options.file)
    frames = options.frames or trained_length(tensors)
    motion = from_released(tensors, BACKBONES[options.network].sites_of(options.backbone, frames, *options.size))
    motion.save(options.output)
    places = ", ".join(site.name for site in motion.sites)
    print(f"{options.output}: {frames} frames, {motion.parameter_count:,} parameters at {places}")
    print(f"use it with --model.embedding {options.output}")
    return 0


def _export(options: argparse.Namespace) -> int:
    from motion_ablation.motion import MotionEmbeddings
    from motion_ablation.motion.released import to_released, write_released

    tensors = to_released(MotionEmbeddings.load(options.file))
    write_released(tensors, options.output)
    print(f"{options.output}: {len(tensors)} tensors")
    return 0


def _add_score(commands: Any) -> None:
    score = commands.add_parser("score", help="score any videos on disk against a reference, with every metric")
    score.set_defaults(command=_score)
    score.add_argument("reference", help="the video whose motion was asked for: mp4, webm, mov, gif or a folder of images")
    score.add_argument("videos", nargs="+", metavar="VIDEO", help="videos to score, from any method; VIDEO.txt beside one holds its prompt")
    score.add_argument("--prompt", default="", help="text of the videos that have none beside them")
    score.add_argument("--metrics", nargs="+", help="names, as in motion-ablation list (all that can be had)")
    score.add_argument("--clip", default="shapes", metavar="SOURCE", help="CLIP of the image metrics: a folder, a hub id (%(default)s)")
    score.add_argument("--tracker", default="opencv", help="opencv, raft or cotracker3, or NAME:PATH of its weights (%(default)s)")
    score.add_argument("--frames", type=positive, default=128, help="most frames to read (%(default)s)")
    score.add_argument("--fps", type=float, help="rate to read at (each video's own)")
    score.add_argument("--json", metavar="FILE", help="also write scores and protocols to a file")


def _score(options: argparse.Namespace) -> int:
    from rich.console import Console
    from rich.progress import track

    from motion_ablation.evaluation.files import score_files
    from motion_ablation.files import write_json

    if options.clip == "shapes":
        print("note: the built-in CLIP knows the built-in world only; else use --clip openai/clip-vit-base-patch32", file=sys.stderr)
    scores = score_files(
        options.reference, options.videos, metrics=options.metrics, prompt=options.prompt, network=options.clip, tracker=options.tracker,
        frames=options.frames, fps=options.fps, track=lambda videos: track(videos, "scoring", console=Console(stderr=True)),
    )  # fmt: skip
    print(scores.to_table())
    if options.json:
        write_json(options.json, vars(scores))
        print(f"scores and protocols are in {options.json}", file=sys.stderr)
    return 0 if scores.complete else 1


def _add_measurements(commands: Any) -> None:
    calibrated = commands.add_parser("calibrate", help="measure how well every metric ranks videos whose truth is known")
    calibrated.set_defaults(command=_calibrate)
    calibrated.add_argument("--output", default="results/calibration", help="folder for the report (%(default)s)")
    calibrated.add_argument("--references", nargs="+", help="built-in references of known motion (orbit slide bounce zoom pan)")
    calibrated.add_argument("--looks", type=positive, default=3, help="appearances per reference, 2 or more (%(default)s)")
    calibrated.add_argument("--trackers", nargs="+", default=["opencv"], help="point trackers; the first is the default's (%(default)s)")

    pretrained = commands.add_parser("pretrain-report", help="measure the built-in backbone")
    pretrained.set_defaults(command=_pretrain_report)
    pretrained.add_argument("--output", default="results/pretrain", help="folder for the report (%(default)s)")


def _calibrate(options: argparse.Namespace) -> int:
    from motion_ablation.evaluation.calibration.ladders import REFERENCES
    from motion_ablation.evaluation.calibration.report import calibrate, verdict

    found = calibrate(options.output, options.references or REFERENCES, options.looks, options.trackers)
    print(f"{verdict(found)}\n{options.output}: report.md, report.json, rungs.csv and figures")
    return 0


def _pretrain_report(options: argparse.Namespace) -> int:
    from motion_ablation.pretrain.report import main as report

    report(options.output)
    return 0
