"""Running a study: every run into its own folder, whatever becomes of the others."""

from __future__ import annotations

import fcntl
import logging
import shutil
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import torch
import transformers
from einops import rearrange
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import Tensor

from motion_ablation.callbacks import ResultCallback, VideoCallback
from motion_ablation.configure import make_cli
from motion_ablation.data.video import replacing
from motion_ablation.motion import read_embedding
from motion_ablation.study.plan import Run, Study, one_line, read_result, write_json
from motion_ablation.study.pool import WorkerDied, cores, run_all
from motion_ablation.study.progress import StudyProgress

NOISY = (
    "lightning",
    "lightning.pytorch",
    "lightning.fabric",
    "lightning.pytorch.utilities.rank_zero",
    "lightning.fabric.utilities.rank_zero",
)


class StudyBusy(RuntimeError):
    """Another process is running the same study."""


def default_workers() -> int:
    """Two single-threaded processes beat one with two threads on a CPU; an accelerator is best left to one."""
    return 1 if torch.cuda.is_available() or torch.backends.mps.is_available() else min(2, cores())


def run_study(study: Study, workers: int, run_all: Callable[..., Any] = run_all) -> bool:
    """Runs what is not finished yet; returns whether all runs are.

    Args:
        workers: runs at a time. run_all: where they run: in a pool of this machine, or :meth:`Cluster.run_all`.

    Raises:
        StudyBusy: if another process is at it.
    """
    study.folder.mkdir(parents=True, exist_ok=True)
    with locked(study.folder):
        study.save()
        pending = [run for run in study.runs if not run.finished]
        with StudyProgress(study.runs, workers) as progress:
            progress.say(_announcement(study, pending, workers))
            for run, outcome in run_all(in_best_order(pending), execute, workers, progress.started):
                if isinstance(outcome, WorkerDied):
                    outcome = record_failure(run, outcome, 0.0)
                progress.finished(run, outcome)
    return all(run.finished for run in study.runs)


def in_best_order(runs: list[Run]) -> list[Run]:
    """Runs that train first, so that short ones fill the gap at the end; those that find their embedding trained come after."""
    seen: set[str] = set()
    order = {}
    for run in runs:
        order[run.name] = 0 if run.trains and run.embedding not in seen else 1
        seen.add(run.embedding)
    return sorted(runs, key=lambda run: order[run.name])


def _announcement(study: Study, pending: list[Run], workers: int) -> str:
    finished = len(study.runs) - len(pending)
    same = "".join(f"; {name} is the same configuration as {owner} and shares its runs" for name, owner in study.same_as.items())
    references = f"{len(study.references)} reference{'s' * (len(study.references) > 1)} ({', '.join(study.references)})"
    plan = f"{len(study.experiments)} experiments on {references}"
    return f"{study.folder}: {plan}: {len(study.runs)} runs, {finished} finished before, {workers} at a time{same}"


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keeps a second process out of a study for as long as the block, or this process, lasts."""
    with (folder / ".lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise StudyBusy(f"{folder}: another process is running this study; wait for it, or choose another --output") from None
        yield


def execute(run: Run) -> dict[str, Any]:
    """Computes a run into its emptied folder and returns its result; a failure is a result too.

    Everything printed goes to ``log.txt``. A run that was cut off is not continued but repeated, so that its result does not depend
    on where it was cut.
    """
    began = time.monotonic()
    try:
        shutil.rmtree(run.folder, ignore_errors=True)
        run.folder.mkdir(parents=True)
        with (run.folder / "log.txt").open("w") as log, redirect_stdout(log), redirect_stderr(log), quiet():
            return _compute(run)
    except (Exception, SystemExit) as error:
        if isinstance(error, SystemExit) and isinstance(error.__context__, KeyboardInterrupt):
            raise KeyboardInterrupt from None  # how Lightning passes on Ctrl-C
        return record_failure(run, error, time.monotonic() - began)


def record_failure(run: Run, error: BaseException, seconds: float) -> dict[str, Any]:
    """Writes why a run failed into its folder, as far as that is possible, and returns it."""
    result = {"status": "failed", "reason": one_line(error), **_identity(run), "seconds": round(seconds, 2)}
    try:
        with replacing(run.folder / "traceback.txt") as part:
            part.write_text("".join(traceback.format_exception(error)), encoding="utf-8")
        write_json(run.folder / "result.json", result)
    except OSError as unwritable:
        result["reason"] += f" (and its folder cannot be written: {unwritable})"
    return result


def _identity(run: Run) -> dict[str, Any]:
    names = ("experiment", "reference", "train_seed", "recipe", "arguments")
    return {name: getattr(run, name) for name in names}


def _compute(run: Run) -> dict[str, Any]:
    if run.error:
        raise ValueError(run.error)
    frozen = run.folder / "planned.json"
    write_json(frozen, run.config)
    cli = make_cli(["--config", str(frozen)], run=False)
    frozen.unlink()  # Lightning writes config.yaml
    if cli.model.backbone.fingerprint != run.backbone:
        raise ValueError("the backbone's weights have changed since the study was planned; run the study again")
    _adapt(cli.trainer, run)
    # Once more, after weights were or were not loaded: a run's draws must not depend on what ran before it.
    L.seed_everything(cli.config["seed_everything"], workers=True)
    if run.trains:
        _train(cli, run)
    scored = read_result(run.folder)
    if scored is None or scored["steps"] != cli.trainer.global_step:
        # Nothing to train, or the last step was not the end of a validated epoch.
        cli.trainer.validate(cli.model, datamodule=cli.datamodule, verbose=False)
    save_reference(run.folder, cli.datamodule.dataset[0].frames, cli.datamodule.dataset[0].fps)
    result = read_result(run.folder)
    if result is None:
        raise ValueError("the run ended without a result.json: trainer.callbacks needs motion_ablation.callbacks.ResultCallback")
    result.update(_identity(run))
    write_json(run.folder / "result.json", result)
    return result


def _train(cli: Any, run: Run) -> None:
    """Trains the run's embedding and keeps it, or takes the one that another run of the same training kept.

    Both are whole trainings of the same recipe: which of them came first does not show in the scores.
    """
    kept = Path(cli.model.artefacts.folder) / "embeddings" / f"{run.embedding}.safetensors"
    kept.parent.mkdir(parents=True, exist_ok=True)
    with kept.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # held while training: a second run waits for the result instead of repeating it
        if kept.exists() and _take(cli.model, cli.datamodule, kept):
            # Not a copy: the header says this run's own debias.
            cli.model.embeddings.save(run.folder / "motion.safetensors", backbone=run.backbone)
            return
        cli.trainer.fit(cli.model, datamodule=cli.datamodule)
        own = run.folder / "motion.safetensors"
        if own.exists():
            with replacing(kept) as part:
                shutil.copyfile(own, part)


def _take(model: Any, data: Any, path: Path) -> bool:
    """Loads a trained embedding into the run's own configuration; whether that worked (a damaged file does not count)."""
    try:
        tensors, _ = read_embedding(path)
        data.setup("fit")
        window = data.dataset.window
        model.make_motion(window.frames, *window.shape)
        model.embeddings.load_state_dict(tensors)
    except (ValueError, RuntimeError):
        model.motion = None
        path.unlink(missing_ok=True)
        return False
    return True


def _adapt(trainer: L.Trainer, run: Run) -> None:
    """Keeps every video for the comparison sheets, names the run in TensorBoard, and keeps no checkpoint (see :func:`execute`)."""
    callbacks: list[Any] = trainer.callbacks  # type: ignore[attr-defined]
    for callback in callbacks:
        if isinstance(callback, VideoCallback):
            callback.frames = True
        if isinstance(callback, ResultCallback):
            callback.labels = {"clip": run.reference, "experiment": run.experiment}  # TensorBoard shows the first in the alphabet
    trainer.callbacks = [c for c in callbacks if not isinstance(c, ModelCheckpoint)]  # type: ignore[attr-defined]


def save_reference(folder: Path, frames: Tensor, fps: float) -> None:
    """Keeps the reference's frames beside the generated ones, in the same form, with its rate."""
    with replacing(folder / "frames" / "reference.npz") as part, part.open("wb") as file:
        pixels = (rearrange(frames, "f c h w -> f h w c") * 255).round().byte().cpu().numpy()
        np.savez_compressed(file, frames=pixels, fps=np.float64(fps))


@contextmanager
def quiet() -> Iterator[None]:
    """No warnings and no chatter of the libraries, for as long as the block."""
    loggers = [logging.getLogger(name) for name in NOISY]
    before = [logger.level for logger in loggers]
    transformers.utils.logging.disable_progress_bar()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            for logger, level in zip(loggers, before, strict=True):
                logger.setLevel(level)
