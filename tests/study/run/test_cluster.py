"""Runs on Ray: what is refused without a cluster, and a real one of three nodes that loses workers, a node, and its driver."""

from __future__ import annotations

import importlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import yaml

from motion_ablation.cli.studies import main
from motion_ablation.study.run import connection
from motion_ablation.study.run.cluster import Cluster, room
from motion_ablation.study.run.connection import ClusterError
from motion_ablation.study.run.crew import Setup, Worker
from motion_ablation.study.run.local import WorkerDied

STORE = 80_000_000  # bytes of shared memory for each node
HELPER = """
import os, signal, time
from pathlib import Path

def work(task):
    name, *rest = task.split(":")
    if name == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    if name == "die_once" and not Path(rest[0]).exists():
        Path(rest[0]).write_text("died")
        os.kill(os.getpid(), signal.SIGKILL)
    if name == "raise":
        raise ValueError("no outcome")
    if name == "hold":  # until the file "go" is there
        folder = Path(rest[0])
        (folder / f"{rest[1]}-{os.getpid()}").write_text(str(os.getpid()))
        while not (folder / "go").exists():
            time.sleep(0.05)
    return f"{name} {os.getpid()}"
"""


OWNER = f"""
import sys
from ray.cluster_utils import Cluster

shape = dict(num_cpus=1, object_store_memory={STORE})
cluster = Cluster(initialize_head=True, head_node_args=dict(include_dashboard=False, **shape))
for command in sys.stdin:
    if command.strip() == "lose":  # not gently
        cluster.remove_node(next(iter(cluster.worker_nodes)), allow_graceful=False)
    while command.strip() == "fill" and len(cluster.worker_nodes) < 2:
        cluster.add_node(**shape)
    print(cluster.address, flush=True)
cluster.shutdown()
"""


def test_room_is_counted_node_by_node() -> None:
    nodes = [{"CPU": 4.0, "GPU": 1.0}, {"CPU": 3.0}, {"memory": 1.0}]
    assert room(nodes, 2, 0) == 3, "a run is not split over nodes"
    assert room(nodes, 1, 0.5) == 2
    assert room(nodes, 4, 0.25) == 1
    assert room(nodes, 8, 0) == 0
    assert room([{"CPU": 100.0, "GPU": 1.0}], 1, 0.1) == 10, "floats are forgiven"


@pytest.mark.parametrize(
    ("demand", "told"), [({"gpus": 2}, "from 0 to 1, not 2"), ({"cpus": 0}, "more than 0"), ({"gpus": -0.5}, "not -0.5")]
)
def test_an_impossible_demand_is_refused(demand: dict[str, float], told: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=told):
        Cluster(tmp_path, **demand)


def test_without_ray_one_line_says_what_to_install(
    lab: Path, quick_config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(SystemExit) as ended:
        main(["run", str(lab / "studies" / "second.yaml"), "--config", str(quick_config), "--output", str(tmp_path / "out"), "--cluster"])
    assert ended.value.code == 2
    assert (
        capsys.readouterr().err.strip()
        == "motion-ablation: --cluster needs Ray, which is not installed: pip install 'motion-ablation[ray]'"
    )


@pytest.fixture
def setup(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Setup]:
    """What the driver tells its workers, with changes; the test's own directory and environment are restored."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    monkeypatch.setenv("SLURM_NTASKS", "8")
    (tmp_path / "probe").write_text("token")
    known = {"cwd": str(tmp_path), "probe": tmp_path / "probe", "token": "token", "threads": 1, "gpus": 0.0, "environment": {}}
    return lambda **changes: Setup(**(known | changes))


def test_a_worker_that_sees_the_study_says_nothing(setup: Callable[..., Setup], tmp_path: Path) -> None:
    assert Worker(setup()).ready() == ""
    assert [path.name for path in tmp_path.iterdir()] == ["probe"]
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "" and "SLURM_NTASKS" not in os.environ


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"cwd": "/nowhere/at/all"}, "has no directory /nowhere/at/all; start the study in a directory that all nodes share"),
        ({"token": "of another driver"}, "put --output in a directory that all nodes share"),
        ({"probe": Path("/nowhere/probe")}, "does not see the study's folder /nowhere"),
    ],
)
def test_a_worker_that_does_not_says_what_to_mend(setup: Callable[..., Setup], changes: dict[str, Any], told: str) -> None:
    assert told in Worker(setup(**changes)).ready()


class Nodes:
    """A real cluster on this machine: a head and two nodes of one core each. It belongs to a process of its own, which loses and adds
    nodes on demand: Ray holds one state per process, and a test's own is the driver's."""

    def __init__(self, helper: Path) -> None:
        environment = {**os.environ, "PYTHONPATH": str(helper), "RAY_USAGE_STATS_ENABLED": "0"}
        self.owner = subprocess.Popen(
            [sys.executable, "-c", OWNER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=environment,
        )
        self.address = self.ask("fill")

    def ask(self, command: str) -> str:
        """Has the owner do something; returns the cluster's address when it is done."""
        assert self.owner.stdin and self.owner.stdout
        self.owner.stdin.write(f"{command}\n")
        self.owner.stdin.flush()
        return self.owner.stdout.readline().strip()


@pytest.fixture(scope="module")
def helper(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder of a module that this process and all workers can import."""
    folder = tmp_path_factory.mktemp("helper")
    (folder / "cluster_helper.py").write_text(HELPER)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(folder))
        patch.setenv("PYTHONPATH", str(folder))
        yield folder
    sys.modules.pop("cluster_helper", None)


@pytest.fixture(scope="module")
def machines(helper: Path) -> Iterator[Nodes]:
    nodes = Nodes(helper)
    yield nodes
    nodes.owner.communicate(timeout=60)  # the end of its input is the cluster's


@pytest.fixture
def nodes(machines: Nodes) -> Nodes:
    machines.ask("fill")
    return machines


@pytest.fixture
def work(helper: Path) -> Callable[[str], str]:
    found: Callable[[str], str] = importlib.import_module("cluster_helper").work
    return found


@pytest.mark.slow
def test_lost_workers_are_replaced_and_what_raises_is_not_retried(nodes: Nodes, work: Callable[[str], str], tmp_path: Path) -> None:
    begun: list[str] = []
    told: list[str] = []
    tasks = ["a", f"die_once:{tmp_path}/died", "b", "raise", "die", "c", "d", "e"]
    with Cluster(tmp_path / "study", nodes.address, tell=told.append) as joined:
        assert joined.workers == 3 and joined.gpus == 0
        outcomes = dict(joined.run_all(tasks, work, started=begun.append))
        assert not list((tmp_path / "study").iterdir()), "the probe is gone"
    assert sorted(begun) == sorted(tasks), "each is said to begin once"
    assert {task: str(outcome).split()[0] for task, outcome in outcomes.items() if task in "abcde"} == {task: task for task in "abcde"}
    assert str(outcomes[tasks[1]]).startswith("die_once ")
    assert isinstance(outcomes["raise"], WorkerDied) and "raised no outcome" in str(outcomes["raise"])
    assert isinstance(outcomes["die"], WorkerDied) and "was lost 3 times" in str(outcomes["die"])
    assert len(told) == 3, "one for the first, two for the second"
    assert len({str(outcomes[task]).split()[1] for task in "abcde"}) < 5, "workers live longer than a task"


@pytest.mark.slow
def test_a_lost_node_leaves_its_run_to_another(nodes: Nodes, work: Callable[[str], str], tmp_path: Path) -> None:
    told: list[str] = []

    def pull_the_plug() -> None:
        _wait_for(lambda: len(list(tmp_path.glob("*-*"))) == 3)
        nodes.ask("lose")
        nodes.ask("fill")  # the two that are left are held; a new one joins
        _wait_for(lambda: len(list(tmp_path.glob("*-*"))) == 4)
        (tmp_path / "go").touch()

    plug = threading.Thread(target=pull_the_plug)
    plug.start()
    with Cluster(tmp_path / "study", nodes.address, tell=told.append) as joined:
        outcomes = dict(joined.run_all([f"hold:{tmp_path}:{name}" for name in "abc"], work))
    plug.join()
    assert sorted(outcomes) == [f"hold:{tmp_path}:{name}" for name in "abc"]
    assert all(isinstance(outcome, str) for outcome in outcomes.values())
    lost = [line for line in told if "lost a worker" in line]  # a busy machine may also tell that nothing has started yet
    assert len(lost) == 1 and "begins again on another" in lost[0]


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_workers_do_not_outlive_their_driver(nodes: Nodes, helper: Path, tmp_path: Path, how: signal.Signals) -> None:
    code = (
        "from cluster_helper import work\nfrom motion_ablation.study.run.cluster import Cluster\n"
        f"with Cluster({str(tmp_path / 'study')!r}, {nodes.address!r}) as joined:\n"
        f"    list(joined.run_all(['hold:{tmp_path}:{{}}'.format(name) for name in 'ab'], work))\n"
    )
    driver = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.DEVNULL)
    try:
        _wait_for(lambda: len(list(tmp_path.glob("[ab]-*"))) == 2)
    finally:
        driver.send_signal(how)
    assert driver.wait(180) != 0
    pids = [int(path.name.split("-")[1]) for path in tmp_path.glob("[ab]-*")]
    _wait_for(lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids))


@pytest.mark.slow
def test_a_demand_that_no_node_meets_is_told(nodes: Nodes, tmp_path: Path) -> None:
    with pytest.raises(ClusterError, match="no node of the cluster has 2 CPU and 0 GPU"):
        Cluster(tmp_path, nodes.address, cpus=2).__enter__()
    import ray

    assert not ray.is_initialized(), "nothing stays connected"


def test_a_cluster_that_is_not_there_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "PATIENCE_TO_CONNECT", 0.5)
    with pytest.raises(ClusterError, match=r"no Ray cluster answers at 127.0.0.1:1 \(nothing in 0.5 s\); start one with: ray start --head"):
        Cluster(tmp_path, "127.0.0.1:1").__enter__()


@pytest.mark.slow
def test_a_study_that_loses_a_worker_ends_as_if_run_here(
    nodes: Nodes, lab: Path, quick_config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def arguments(place: str) -> list[str]:
        """Each with a cache of its own: what is compared is computed twice."""
        settings = yaml.safe_load(quick_config.read_text())
        settings["model"]["cache"] = str(tmp_path / f"cache-{place}")
        (tmp_path / f"{place}.yaml").write_text(yaml.safe_dump(settings))
        card = str(lab / "studies" / "second.yaml")
        return ["run", card, "--config", str(tmp_path / f"{place}.yaml"), "--output", str(tmp_path / place)]

    main([*arguments("here"), "--workers", "1"])
    log = tmp_path / "there" / "baseline" / "orbit" / "log.txt"

    def kill_the_worker() -> None:
        _wait_for(lambda: bool(_holders(log)))
        for pid in _holders(log):
            os.kill(pid, signal.SIGKILL)

    killer = threading.Thread(target=kill_the_worker)
    killer.start()
    main([*arguments("there"), "--cluster", nodes.address])
    killer.join()
    assert "its run begins again on another" in capsys.readouterr().out
    here, there = (_scores(tmp_path / place) for place in ("here", "there"))
    assert here == there and set(here) == {f"{name}/orbit" for name in ("baseline", "mqk_spatial", "no_motion")}
    tables = [(tmp_path / place / "table.md").read_text().splitlines() for place in ("here", "there")]
    assert [_without_seconds(line) for line in tables[0]] == [_without_seconds(line) for line in tables[1]]


def _holders(path: Path) -> list[int]:
    """Processes that have a file open."""
    found = []
    for link in Path("/proc").glob("[0-9]*/fd/*"):
        with suppress(OSError):
            if os.readlink(link) == str(path):
                found.append(int(link.parts[2]))
    return found


def _without_seconds(line: str) -> str:
    """A line of the table without its last column, which tells how long runs took."""
    return line.rpartition("|")[0].rpartition("|")[0]


def _scores(folder: Path) -> dict[str, Any]:
    results = {str(path.parent.relative_to(folder)): json.loads(path.read_text()) for path in folder.glob("*/*/result.json")}
    return {name: (result["status"], result["metrics"], result["cells"]) for name, result in results.items()}


def _wait_for(condition: Callable[[], bool], seconds: float = 400) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)
