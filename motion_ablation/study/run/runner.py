"""Running a study: every run into its own folder, whatever becomes of the others."""

from __future__ import annotations

import errno
import gc
import logging
import os
import shutil
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any, TextIO

import lightning as L
import numpy as np
import torch
import transformers
from einops import rearrange
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import Tensor

from motion_ablation import files
from motion_ablation.cache.addresses import addresses
from motion_ablation.cache.artefacts import Tensors
from motion_ablation.callbacks import LossCurve, ResultCallback, VideoCallback
from motion_ablation.configure.parse import make_cli
from motion_ablation.data.reference import find_sources
from motion_ablation.files import replacing, write_json
from motion_ablation.study.plan.study import Run, Study, one_line, read_result
from motion_ablation.study.run.local import WorkerDied, cores, gpus, run_all
from motion_ablation.study.run.progress import StudyProgress
from motion_ablation.study.run.status import LOCK

NOISY = (
    "lightning",
    "lightning.pytorch",
    "lightning.fabric",
    "lightning.pytorch.utilities.rank_zero",
    "lightning.fabric.utilities.rank_zero",
)


FULL = tuple(os.strerror(number) for number in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG))
USES = "artefacts.txt"  # in a run's folder: the artefacts that it is made of
TRAINING, LOSS = "training", "training.loss"  # beside an embedding's tensors: steps and seconds; (step, loss) of its curve


class StudyBusy(RuntimeError):
    """Another process is running the same study."""


def default_workers() -> int:
    """Two single-threaded processes beat one with two threads on a CPU; an accelerator is best left to one, and every GPU gets one."""
    if torch.cuda.is_available() or torch.backends.mps.is_available():
        return max(1, len(gpus()))
    return min(2, cores())


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
    """Backbone by backbone, because a process holds one; of each, runs that train first, so that short ones fill the gap at the end, and
    after them those that find their embedding trained."""
    seen: set[str] = set()
    order = {}
    backbones = list(dict.fromkeys(run.backbone for run in runs))
    for run in runs:
        order[run.name] = backbones.index(run.backbone), 0 if run.trains and run.embedding not in seen else 1
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
    with ExitStack() as held:
        try:
            held.enter_context(files.locked(folder / LOCK, wait=1.0))  # `status`, which only looks, is gone by then
        except TimeoutError:
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
        with (run.folder / "log.txt").open("w") as log, redirect_stdout(log), redirect_stderr(log), quiet(), _logged(log):
            return _compute(run)
    except (Exception, SystemExit) as error:
        if isinstance(error, SystemExit) and isinstance(error.__context__, KeyboardInterrupt):
            raise KeyboardInterrupt from None  # how Lightning passes on Ctrl-C
        try:
            return record_failure(run, error, time.monotonic() - began)
        finally:
            traceback.clear_frames(error.__traceback__)  # they hold the failed run's tensors; the next run needs their memory
            gc.collect()
            if torch.cuda.is_available():
                torch.cuda.empty_cache()


def record_failure(run: Run, error: BaseException, seconds: float) -> dict[str, Any]:
    """Writes why a run failed into its folder, as far as that is possible, and returns it."""
    result = {"status": "failed", "reason": reason_of(error), **_identity(run), "seconds": round(seconds, 2)}
    try:
        with replacing(run.folder / "traceback.txt") as part:
            part.write_text("".join(traceback.format_exception(error)), encoding="utf-8")
        write_json(run.folder / "result.json", result)
    except OSError as unwritable:
        result["reason"] += f" (and its folder cannot be written: {unwritable})"
    return result


def reason_of(error: BaseException) -> str:
    """Why a run failed, in one line; with the mend where the error itself has none."""
    told = one_line(error)
    if isinstance(error, torch.OutOfMemoryError | MemoryError) or "can't allocate memory" in told:
        return f"out of memory ({told[:200]}); lower data.val_batch_size, data.size or data.frames, or run fewer at a time (--workers)"
    if any(sign in told for sign in FULL) and "free some space" not in told:
        return f"the disk is full ({told}); free some space and run the study again"
    return told


def _identity(run: Run) -> dict[str, Any]:
    names = ("experiment", "reference", "train_seed", "recipe", "arguments")
    return {name: getattr(run, name) for name in names}


def _compute(run: Run) -> dict[str, Any]:
    if run.error:
        raise ValueError(run.error)
    if run.config["trainer"]["devices"] not in ("auto", 1, "1"):
        raise ValueError(
            f"a run of a study uses one device, not trainer.devices: {run.config['trainer']['devices']}; --workers and --cluster use more"
        )
    frozen = run.folder / "planned.json"
    write_json(frozen, {**run.config, "trainer": {**run.config["trainer"], "devices": 1}})
    cli = make_cli(["--config", str(frozen)], run=False)
    frozen.unlink()  # Lightning writes config.yaml
    _check_unchanged(run, cli.model.backbone.fingerprint)
    _adapt(cli.trainer, run)
    cli.model.artefacts.uses = run.folder / USES
    facts: dict[str, Any] = {}
    if run.trains:
        # Once more, after weights were or were not loaded: a run's draws must not depend on what ran before it.
        L.seed_everything(run.train_seed, workers=True)
        facts = _train(cli, run)
    cli.model.keeps_videos = True
    L.seed_everything(run.train_seed, workers=True)  # nor on whether the embedding was trained just now
    cli.trainer.validate(cli.model, datamodule=cli.datamodule, verbose=False)
    save_reference(run.folder, cli.datamodule.dataset[0].frames, cli.datamodule.dataset[0].fps)
    result = read_result(run.folder)
    if result is None:
        raise ValueError("the run ended without a result.json: trainer.callbacks needs motion_ablation.callbacks.ResultCallback")
    result.update(_identity(run), **facts)
    write_json(run.folder / "result.json", result)
    return result


def _check_unchanged(run: Run, backbone: str) -> None:
    """Refuses to file results under an address that is no longer theirs."""
    (source,) = [source for source in find_sources(run.config["data"]["references"]) if source.name == run.reference]
    if addresses(run.config, backbone, source) != (run.recipe, run.embedding):
        raise ValueError("weights, code or the reference have changed since the study was planned; run the study again")


def _train(cli: Any, run: Run) -> dict[str, Any]:
    """Trains the run's embedding, or takes the one that another run of the same training kept; returns what is to be told of the training.

    Both are whole trainings of the same recipe: which of them came first does not show in the scores. Nothing is validated meanwhile: the
    embedding is on disk before the first video is generated, and other runs need not wait for the videos.
    """
    model, trainer, data = cli.model, cli.trainer, cli.datamodule
    curve, fitted = LossCurve(), []

    def fit() -> Tensors:
        fitted.append(True)
        began, batches = time.monotonic(), trainer.limit_val_batches
        trainer.callbacks.append(curve)
        trainer.limit_val_batches = 0
        trainer.fit(model, datamodule=data)
        trainer.limit_val_batches = batches
        facts = torch.tensor([trainer.global_step, time.monotonic() - began], dtype=torch.float64)
        return {**model.embeddings.state_dict(), TRAINING: facts, LOSS: torch.tensor(curve.points, dtype=torch.float64).reshape(-1, 2)}

    kept = model.artefacts.get("embeddings", run.embedding, fit)
    steps, seconds = int(kept[TRAINING][0]), float(kept[TRAINING][1])
    if not fitted:
        if model.motion is None:
            window = data.dataset.window
            model.make_motion(window.frames, *window.shape)
        model.embeddings.load_state_dict({name: tensor for name, tensor in kept.items() if name not in (TRAINING, LOSS)})
        _tell_training(trainer, steps, kept[LOSS].tolist())
    # Not a copy: the header says this run's own debias.
    model.embeddings.save(run.folder / "motion.safetensors", backbone=run.backbone)
    return {"train_seconds": round(seconds, 2)}


def _tell_training(trainer: L.Trainer, steps: int, losses: list[tuple[float, float]]) -> None:
    """Makes the trainer's counters, and the loss in its loggers, what they were after the training that is taken over."""
    loop = trainer.fit_loop.epoch_loop
    loop.automatic_optimization.optim_progress.optimizer.step.total.completed = steps  # what trainer.global_step reads
    loop._batches_that_stepped = steps  # where Lightning's loggers put a validation
    for logger in trainer.loggers:
        for step, loss in losses:
            logger.log_metrics({"train/loss": loss}, int(step))


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
def _logged(stream: TextIO) -> Iterator[None]:
    """This package's own warnings go to ``stream`` for as long as the block."""
    logger, handler = logging.getLogger("motion_ablation"), logging.StreamHandler(stream)
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)


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
