"""Reaching a Ray cluster, or starting one on this machine."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any

PATIENCE_TO_CONNECT = 10.0  # seconds
OBJECT_STORE = 100_000_000  # bytes, of a cluster started here: results are a few kB


class ClusterError(RuntimeError):
    """The cluster cannot run the study; the message names the mend."""


def import_ray() -> Any:
    """The Ray library. Raises :class:`ClusterError` where it is not installed."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # a worker without GPU says so itself
    try:
        import ray
    except ImportError:
        raise ClusterError("--cluster needs Ray, which is not installed: pip install 'motion-ablation[ray]'") from None
    return ray


def connect(ray: Any, address: str) -> None:
    """Joins the cluster at ``address``, or starts one here."""
    quiet = {"logging_level": logging.ERROR, "log_to_driver": False}
    given = os.environ.get("RAY_ADDRESS", "auto") if address == "auto" else address
    if given == "auto":
        here = _running_here()
        given = here if here and _answers(here) else "local"
    if given == "local":
        ray.init(address="local", include_dashboard=False, object_store_memory=OBJECT_STORE, **quiet)
        return
    try:
        if not _answers(given):
            raise ConnectionError(f"nothing in {PATIENCE_TO_CONNECT:g} s")
        ray.init(address=given, **quiet)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise ClusterError(f"no Ray cluster answers at {given} ({message_of(error)}); start one with: ray start --head") from None


def _running_here() -> str:
    """The address that ``ray start`` left on this machine, even if the cluster has ended since; empty if there is none."""
    folder = os.environ.get("RAY_TMPDIR") or os.environ.get("TMPDIR") or "/tmp"
    try:
        return (Path(folder) / "ray" / "ray_current_cluster").read_text().strip()
    except OSError:
        return ""


def _answers(address: str) -> bool:
    """Whether anything listens there; Ray itself would try for minutes. What this cannot tell counts as an answer."""
    import grpc

    if "://" in address or os.environ.get("RAY_USE_TLS", "0") != "0":
        return True
    with grpc.insecure_channel(address) as channel:
        try:
            grpc.channel_ready_future(channel).result(PATIENCE_TO_CONNECT)
        except grpc.FutureTimeoutError:
            return False
    return True


def message_of(error: BaseException) -> str:
    """An error's message, on one line; its type where there is none."""
    return " ".join(str(error).split())[:300] or type(error).__name__
