"""Experiments and cards by name, from anywhere."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from motion_ablation.cli.studies import main
from motion_ablation.configure.shipped import FOLDER, find_file
from motion_ablation.study.plan.cards import read_card

ROOT = Path(__file__).parents[2]


def test_shipped_files_are_found_by_name_where_there_is_no_such_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("mqk_partial", "mqk_partial.yaml", "experiments/mqk_partial.yaml"):
        assert find_file(name) == FOLDER / "mqk_partial.yaml"
    assert find_file("zeroscope") == FOLDER / "backbones" / "zeroscope.yaml"
    assert read_card("mqk_partial").path == FOLDER / "studies" / "mqk_partial.yaml", "a card is looked for among the cards"
    assert read_card("experiments/studies/integration.yaml").baseline == read_card(ROOT / "experiments/studies/integration.yaml").baseline
    assert find_file("nothing.yaml") == Path("nothing.yaml")
    (tmp_path / "mqk_partial.yaml").touch()
    assert find_file("mqk_partial.yaml") == Path("mqk_partial.yaml"), "the user's own file comes first"


def test_commands_work_outside_the_repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    main(["list"])
    assert "mqk_partial" in capsys.readouterr().out
    with pytest.raises(SystemExit) as stopped:
        main(["fit", "--config", "experiments/mqk_partial.yaml", "--print_config"])
    assert stopped.value.code == 0 and "coarse_grid" in capsys.readouterr().out


@pytest.mark.slow
def test_a_wheel_holds_them(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "pip", "wheel", str(ROOT), "--no-deps", "--no-build-isolation", "-q", "-w", str(tmp_path)]
    subprocess.run(command, check=True)
    (wheel,) = tmp_path.glob("*.whl")
    inside = zipfile.ZipFile(wheel).namelist()
    files = [str(path.relative_to(ROOT)) for path in (ROOT / "experiments").rglob("*.yaml")]
    assert len(files) > 40 and {f"motion_ablation/{file}" for file in files} <= set(inside)
