"""One run of a study: trains or takes over its embedding, generates, scores, and leaves everything in its folder."""

from __future__ import annotations

import gc
import shutil
import time
import traceback
from contextlib import ExitStack
from typing import Any

import lightning as L
import numpy as np
import torch
from einops import rearrange
from lightning.pytorch.callbacks import ModelCheckpoint

from motion_ablation.cache.addresses import addresses
from motion_ablation.cache.artefacts import Tensors
from motion_ablation.callbacks import ResultCallback, Training, VideoCallback
from motion_ablation.callbacks.loggers import finish
from motion_ablation.configure.parse import make_cli
from motion_ablation.data.reference import find_sources
from motion_ablation.files import replacing, write_json
from motion_ablation.records import Clip
from motion_ablation.study.plan.run import Run, read_result
from motion_ablation.study.run.failures import identity, record_failure
from motion_ablation.study.run.quiet import logged

USES = "artefacts.txt"  # in a run's folder: the artefacts of the cache that it is made of


def execute(run: Run) -> dict[str, Any]:
    """Computes a run into its emptied folder and returns its result; a failure is a result too.

    Everything printed goes to ``log.txt``. A run that was cut off is not continued but begun again, so that its result does not depend
    on where it was cut.
    """
    began, training = time.monotonic(), Training()
    try:
        shutil.rmtree(run.folder, ignore_errors=True)
        run.folder.mkdir(parents=True)
        with logged(run.folder / "log.txt"):
            return _compute(run, training)
    except (Exception, SystemExit) as error:
        if isinstance(error, SystemExit) and isinstance(error.__context__, KeyboardInterrupt):
            raise KeyboardInterrupt from None  # how Lightning passes on Ctrl-C
        try:
            return record_failure(run, error, time.monotonic() - began, training)
        finally:
            traceback.clear_frames(error.__traceback__)  # they hold the failed run's tensors; the next run needs their memory
            gc.collect()
            if torch.cuda.is_available():
                torch.cuda.empty_cache()


def _compute(run: Run, training: Training) -> dict[str, Any]:
    """The run itself, which its loggers see end; ``training`` is filled as far as it comes."""
    cli = _make(run)
    with ExitStack() as ending:
        for logger in cli.trainer.loggers:
            ending.callback(finish, logger)
        return _finished(cli, run, training)


def _finished(cli: Any, run: Run, training: Training) -> dict[str, Any]:
    """The result of a run that is made."""
    reporter = _adapt(cli.trainer, run)
    reporter.training = training
    cli.model.artefacts.uses = run.folder / USES
    if run.trains:
        # Seeded here and below, so that the run's draws do not depend on what ran before in this process, on whether weights were
        # loaded, or on whether the embedding was trained just now.
        L.seed_everything(run.train_seed, workers=True)
        _train(cli, run, reporter)
    cli.model.keeps_videos = True
    L.seed_everything(run.train_seed, workers=True)
    cli.trainer.validate(cli.model, datamodule=cli.datamodule, verbose=False)
    save_reference(run, cli.datamodule.dataset[0])
    result = read_result(run.folder)
    if result is None:
        raise ValueError("the run ended without a result.json: a study needs trainer.fast_dev_run: false")
    result.update(identity(run))
    write_json(run.folder / "result.json", result)
    return result


def _make(run: Run) -> Any:
    """The run's model, data and trainer, as its configuration says.

    Raises:
        ValueError: if it cannot run, or if what it was planned with has changed since: its results would be filed as something else's.
    """
    if run.error:
        raise ValueError(run.error)
    devices = run.config["trainer"]["devices"]
    if devices not in ("auto", 1, "1"):
        raise ValueError(f"a run of a study uses one device, not trainer.devices: {devices}; --workers and --cluster use more")
    frozen = run.folder / "planned.json"
    write_json(frozen, {**run.config, "trainer": {**run.config["trainer"], "devices": 1}})
    cli = make_cli(["--config", str(frozen)], run=False)
    frozen.unlink()  # Lightning writes config.yaml
    (source,) = [source for source in find_sources(run.config["data"]["references"]) if source.name == run.reference]
    if addresses(run.config, cli.model.backbone.fingerprint, source) != (run.recipe, run.embedding):
        raise ValueError("weights, code or the reference have changed since the study was planned; run the study again")
    return cli


def _adapt(trainer: L.Trainer, run: Run) -> ResultCallback:
    """Has the callbacks save every video, name the run in TensorBoard and write no checkpoint; returns the one that reports."""
    callbacks: list[Any] = trainer.callbacks  # type: ignore[attr-defined]
    reporter = next((callback for callback in callbacks if isinstance(callback, ResultCallback)), None)
    if reporter is None:
        raise ValueError("the run would end without a result.json: trainer.callbacks needs motion_ablation.callbacks.ResultCallback")
    reporter.labels = {"clip": run.reference, "experiment": run.experiment}  # TensorBoard shows the first in the alphabet
    for callback in callbacks:
        if isinstance(callback, VideoCallback):
            callback.frames = True
    trainer.callbacks = [c for c in callbacks if not isinstance(c, ModelCheckpoint)]  # type: ignore[attr-defined]
    return reporter


def _train(cli: Any, run: Run, reporter: ResultCallback) -> None:
    """Trains the run's embedding, or takes it from the cache where another run has trained the same one, and what there is to tell of it.

    Both come from one recipe, so that the scores do not show which of them it was. Nothing is validated meanwhile: the embedding is in
    the cache before the first video is generated, so that other runs need not wait for the videos.
    """
    model, trainer, data = cli.model, cli.trainer, cli.datamodule
    fitted = False

    def fit() -> Tensors:
        nonlocal fitted
        fitted = True
        batches, trainer.limit_val_batches = trainer.limit_val_batches, 0
        trainer.fit(model, datamodule=data)
        trainer.limit_val_batches = batches
        return {**model.embeddings.state_dict(), **reporter.training.to_tensors()}

    cached = model.artefacts.get("embeddings", run.embedding, fit)
    if not fitted:
        if model.motion is None:
            window = data.dataset.window
            model.make_motion(window.frames, *window.shape)
        model.embeddings.load_state_dict({name: cached[name] for name in model.embeddings.state_dict()})
        reporter.take_over(trainer, Training.from_tensors(cached))
    # Saved anew, not copied: the file's header holds this run's own debias.
    model.embeddings.save(run.folder / "motion.safetensors", backbone=run.backbone)


def save_reference(run: Run, clip: Clip) -> None:
    """Saves the reference's frames beside the generated ones, in the same form, with its rate."""
    with replacing(run.folder / "frames" / "reference.npz") as part, part.open("wb") as file:
        pixels = (rearrange(clip.frames, "f c h w -> f h w c") * 255).round().byte().cpu().numpy()
        np.savez_compressed(file, frames=pixels, fps=np.float64(clip.fps))
