"""What is written of a run that failed."""

from __future__ import annotations

import errno
import os
import traceback
from typing import Any

from motion_ablation.callbacks import Training
from motion_ablation.errors import out_of_memory
from motion_ablation.files import replacing, write_json
from motion_ablation.study.plan.run import Run, one_line

FULL = tuple(os.strerror(number) for number in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG))


def record_failure(run: Run, error: BaseException, seconds: float, training: Training | None = None) -> dict[str, Any]:
    """Writes why a run failed into its folder, as far as that is possible, and returns it.

    Args:
        training: how far it came, for its loss curve.
    """
    result = {"status": "failed", "reason": reason_of(error), **identity(run), "seconds": round(seconds, 2)}
    if training is not None:
        result["loss"] = training.curve()
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
    memory = out_of_memory(error)
    if memory is not None:
        return f"{memory}, or run fewer at a time (--workers)"
    if any(sign in told for sign in FULL) and "free some space" not in told:
        return f"the disk is full ({told}); free some space and run the study again"
    return told


def identity(run: Run) -> dict[str, Any]:
    """What tells, in its ``result.json``, which run it is of."""
    names = ("experiment", "reference", "train_seed", "recipe", "arguments")
    return {name: getattr(run, name) for name in names}
