"""Files: whole or not at all, strict JSON, and locks that go with their process."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from motion_ablation.files import is_locked, locked, read_json, replacing, write_json


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "new" / "a.txt"
    with replacing(path) as part:
        part.write_text("one")
        assert not path.exists()
    with pytest.raises(KeyboardInterrupt), replacing(path) as part:
        part.write_text("two")
        raise KeyboardInterrupt
    assert path.read_text() == "one" and list(path.parent.iterdir()) == [path]


def test_json_is_strict(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_json(path, {"scores": [float("nan"), float("inf"), 1.5], "in": {"deep": (float("-inf"),)}, "path": Path("x/y")})

    def refuse(name: str) -> Any:
        raise AssertionError(f"{name} is no JSON")

    assert json.loads(path.read_text(), parse_constant=refuse) == {"scores": [None, None, 1.5], "in": {"deep": [None]}, "path": "x/y"}
    assert read_json(path)["scores"] == [None, None, 1.5]
    path.write_text("{")
    with pytest.raises(ValueError, match="a.json is not a JSON file: "):
        read_json(path)
    with pytest.raises(FileNotFoundError):
        read_json(tmp_path / "none.json")


def test_one_at_a_time(tmp_path: Path) -> None:
    lock = tmp_path / ".lock"
    assert not is_locked(lock) and not lock.exists(), "looking makes no file"
    with locked(lock):
        assert is_locked(lock)
        with pytest.raises(TimeoutError), locked(lock, wait=0.05):
            pass
    assert not is_locked(lock) and lock.exists()
    with locked(lock, wait=0.0, remove=True):
        pass
    assert not lock.exists()


def test_who_waited_for_a_removed_lock_is_alone_too(tmp_path: Path) -> None:
    inside, most = [0], [0]

    def enter() -> None:
        for _ in range(20):
            with locked(tmp_path / "a.lock", remove=True):
                inside[0] += 1
                most[0] = max(most[0], inside[0])
                time.sleep(0.0005)
                inside[0] -= 1

    threads = [threading.Thread(target=enter) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1] and not list(tmp_path.iterdir())


def test_a_lock_goes_with_a_killed_process(tmp_path: Path) -> None:
    lock = tmp_path / ".lock"
    code = "import sys, time; from motion_ablation.files import locked\nwith locked(sys.argv[1]): print('in', flush=True); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", code, str(lock)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stdout.readline() == b"in\n"
        assert is_locked(lock)
        with pytest.raises(TimeoutError), locked(lock, wait=0.05):
            pass
        process.kill()
    assert not is_locked(lock)
    with locked(lock, wait=1.0):
        pass


@pytest.mark.parametrize("answer", [errno.ENOSYS, errno.ENOTSUP, errno.ENOLCK])
def test_a_file_system_without_locks_lets_everyone_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: int) -> None:
    def refuse(*_: Any) -> None:
        raise OSError(answer, os.strerror(answer))

    monkeypatch.setattr("fcntl.flock", refuse)
    with locked(tmp_path / ".lock", remove=True), locked(tmp_path / ".lock", remove=True):
        assert not is_locked(tmp_path / ".lock")
    assert not list(tmp_path.iterdir()), "not even a marker that would outlive a killed process"


def test_a_lock_that_cannot_be_made_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OSError), locked(tmp_path / "file" / ".lock", wait=0.05):
        pass
