"""The pool of processes, without any study."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from motion_ablation.study.run.local import WorkerDied, gpus, run_all

HELPER = """
import os, signal, sys, time

def work(task):
    if task == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    if task == "leave":
        os._exit(3)
    if task.startswith("sleep"):
        print(os.getpid(), file=open(task.split(":")[1], "w"), flush=True)
        time.sleep(60)
    if task.startswith("gpu"):
        time.sleep(0.5)
        return os.environ.get("CUDA_VISIBLE_DEVICES")
    return task.upper()
"""


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> object:
    (tmp_path / "pool_helper.py").write_text(HELPER)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    import importlib

    module = importlib.import_module("pool_helper")
    yield module.work
    sys.modules.pop("pool_helper")


def test_one_worker_runs_here_and_in_order() -> None:
    begun: list[str] = []
    assert list(run_all(["a", "b"], str.upper, 1, begun.append)) == [("a", "A"), ("b", "B")]
    assert begun == ["a", "b"]


def test_a_worker_that_dies_takes_only_its_own_task(work) -> None:  # type: ignore[no-untyped-def]
    begun: list[str] = []
    outcomes = dict(run_all(["a", "die", "b", "leave", "c"], work, 2, begun.append))
    assert sorted(begun) == ["a", "b", "c", "die", "leave"]
    assert {task: outcome for task, outcome in outcomes.items() if len(task) == 1} == {"a": "A", "b": "B", "c": "C"}
    assert isinstance(outcomes["die"], WorkerDied) and "killed by SIGKILL" in str(outcomes["die"])
    assert isinstance(outcomes["leave"], WorkerDied) and "exit code 3" in str(outcomes["leave"])


def test_workers_share_the_gpus_in_turn(work, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,GPU-7")
    assert gpus() == ["4", "GPU-7"]
    outcomes = dict(run_all(["gpu1", "gpu2", "gpu3"], work, 3))
    assert sorted(map(str, outcomes.values())) == ["4", "4", "GPU-7"]
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "4,GPU-7"
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    assert gpus() == ["0", "1"]


def test_workers_do_not_outlive_their_parent(tmp_path: Path) -> None:
    (tmp_path / "pool_helper.py").write_text(HELPER)
    main = tmp_path / "main.py"
    main.write_text(
        "from pool_helper import work\nfrom motion_ablation.study.run.local import run_all\n"
        f"if __name__ == '__main__':\n    list(run_all(['sleep:{tmp_path}/1', 'sleep:{tmp_path}/2'], work, 2))\n"
    )
    parent = subprocess.Popen([sys.executable, str(main)])
    try:
        children = [_read(tmp_path / name, 60) for name in "12"]
    finally:
        parent.send_signal(signal.SIGKILL)
        parent.wait()
    deadline = time.monotonic() + 20
    while any(_alive(child) for child in children):
        assert time.monotonic() < deadline, "a worker outlived its parent"
        time.sleep(0.1)


def _read(path: Path, seconds: float) -> int:
    deadline = time.monotonic() + seconds
    while not (path.exists() and path.read_text().strip()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return int(path.read_text())


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    # A zombie that nobody has reaped yet is no longer running.
    state = Path(f"/proc/{process}/stat")
    return not (state.exists() and state.read_text().rpartition(")")[2].split()[0] == "Z")
