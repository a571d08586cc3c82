"""What the report writes beside its page: LaTeX, Parquet, figures, TensorBoard."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from motion_ablation.files import write_json
from motion_ablation.study.plan.study import Study
from motion_ablation.study.report import model
from motion_ablation.study.report.configs import differences
from motion_ablation.study.report.curves import curve_of, smoothed, thinned, training_curves
from motion_ablation.study.report.formats import latex
from motion_ablation.study.report.write import write_report
from motion_ablation.study.results import Results

WRITTEN = {"report.html", "table.md", "table.tex", "scores.csv", "scores.parquet"}


def test_a_report_is_written_twice_alike(reported: Study) -> None:
    def content() -> dict[str, bytes]:
        paths = [*(reported.folder / name for name in WRITTEN), *(reported.folder / "figures").iterdir()]
        return {path.name: path.read_bytes() for path in paths}

    before = content()
    write_report(reported)
    assert content() == before


def test_the_parquet_holds_every_score(reported: Study) -> None:
    kept = pd.read_parquet(reported.folder / "scores.parquet")
    pd.testing.assert_frame_equal(kept, Results(reported).frame, check_dtype=False)
    assert len(kept) == (5 + 1) * 3 * 2 * 2 * 2 * 2, "experiments and the one that shares, references, noises, prompts, seeds, metrics"


def check_latex(text: str) -> None:
    """Environments nest, braces and math close, cells are as many as columns, and no character is left that LaTeX would trip over."""
    opened: list[str] = []
    for kind, name in re.findall(r"\\(begin|end)\{(\w+\*?)\}", re.sub(r"(?m)^%.*$|\\def\\studyend.*$", "", text)):
        if kind == "begin":
            opened.append(name)
        else:
            assert opened.pop() == name
    assert opened == ["document"], "ended by \\studyend"
    assert text.rstrip().endswith("\\studyend")
    plain = re.sub(r"\\[\\{}$&#%_^~]", "", text)
    assert plain.count("{") == plain.count("}") and plain.count("$") % 2 == 0
    body = plain.split("as wide as the page at most\n")[1]
    assert not re.search(r"[#%^~<>|\"]|[^\x00-\x7fÀ-ÿ]", body)
    assert not re.search(r"_", re.sub(r"\\label\{[^}]*\}", "", body))
    for columns, rows in re.findall(r"\\begin\{tabular\}\{@\{\}(l\w+)@\{\}\}(.*?)\\bottomrule", text, flags=re.S):
        for line in rows.splitlines():
            if line.endswith("\\\\"):
                assert len(re.findall(r"(?<!\\)&", line)) == len(columns) - 1


def test_the_latex_is_sound(reported: Study) -> None:
    text = (reported.folder / "table.tex").read_text(encoding="utf-8")
    check_latex(text)
    assert text.count(r"\begin{table*}") == 2, "a table per card and noise"
    with pytest.raises(AssertionError):
        check_latex(text.replace(r"\&", "&", 1).replace(r"\%", "%"))


def test_only_what_is_shown_to_be_better_is_bold(reported: Study) -> None:
    text = (reported.folder / "table.tex").read_text(encoding="utf-8")
    bold = [line.split(" & ")[0] for line in text.splitlines() if "mathbf" in line]
    assert bold == ["finer"], "on random noise only: there are no verdicts on the other"
    assert all(line.split(" & ")[1].startswith(r"$\mathbf{") for line in text.splitlines() if "mathbf" in line), "text similarity only"


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="no pdflatex on the path; the syntax is checked above")
@pytest.mark.parametrize("inside", [False, True])
def test_the_latex_compiles(inside: bool, reported: Study, tmp_path: Path) -> None:
    shutil.copy(reported.folder / "table.tex", tmp_path)
    head = "\\documentclass{article}\\usepackage{booktabs,graphicx}"
    (tmp_path / "paper.tex").write_text(head + "\\begin{document}A.\\input{table}B.\\end{document}")
    name = "paper" if inside else "table"
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", f"{name}.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-2000:]
    assert (tmp_path / f"{name}.pdf").stat().st_size > 1000


def test_latex_prints_any_text() -> None:
    assert latex("a_b & 50% {x} $ # ~ ^ \\") == r"a\_b \& 50\% \{x\} \$ \# \textasciitilde{} \textasciicircum{} \textbackslash{}"
    assert latex("café ± “q” ↑\n日") == r"café $\pm$ ``q'' $\uparrow$ ?"
    assert latex('ő"ð') == "o''?"


def test_figures_fit_a_paper(reported: Study) -> None:
    folder = reported.folder / "figures"
    names = {path.name for path in folder.iterdir()}
    stems = {f"forest-my_card-{noise}" for noise in ("blend", "random")}
    stems |= {f"frames-{reference}-{noise}" for reference in "abc" for noise in ("blend", "random")}
    assert names == {f"{stem}.{kind}" for stem in stems for kind in ("png", "pdf")}
    for stem in stems:
        pdf = (folder / f"{stem}.pdf").read_bytes()
        assert b"/FontFile2" in pdf and b"/Type3" not in pdf, "fonts are embedded as TrueType"
        width = float(re.search(rb"/MediaBox \[ ?0 0 ([\d.]+)", pdf)[1])  # type: ignore[index]
        assert width == pytest.approx(3.4 * 72, abs=0.5), "a column's width"
        with Image.open(folder / f"{stem}.png") as picture:
            assert picture.width == round(3.4 * 300)
            assert len(picture.convert("RGB").getcolors(1 << 24)) > 20, "something is drawn"


def test_differences_of_configurations() -> None:
    defaults = {"model": {"a": {"name": "x"}, "b": 1, "cache": "here"}, "data": {"references": ["r"]}, "seed": 0}
    own = {"model": {"a": {"name": "y", "size": 2}, "b": 1, "cache": "there"}, "data": {"references": ["s"]}, "seed": None}
    assert differences(own, defaults) == [("model.a.name", '"x"', '"y"'), ("model.a.size", "(not set)", "2"), ("seed", "0", "null")]
    assert differences({**defaults, "model": {**defaults["model"], "a": {}}}, defaults) == [("model.a.name", '"x"', "(not set)")]
    assert differences(defaults, defaults) == []


def test_curves_are_read_thinned_and_smoothed(reported: Study) -> None:
    curves = training_curves(reported)
    assert list(curves) == list("abc") and [name for name, _ in curves["a"]] == ["baseline", "finer", "coarser", "wavering"]
    steps, values = thinned(np.arange(999.0), np.full(999, 2.0), 50)
    assert len(steps) == 50 and (np.diff(steps) > 0).all() and np.allclose(values, 2)
    assert np.allclose(smoothed(values), 2), "no pull towards zero"
    halved = smoothed(np.array([0.0] * 90 + [1.0] * 10), half_life=0.1)
    assert halved[-1] == pytest.approx(0.5, abs=0.002)


def test_a_curve_is_whatever_the_result_says(reported: Study, tmp_path: Path) -> None:
    run = replace(reported.run_of("finer", "a"), folder=tmp_path)
    assert curve_of(run) is None, "no result"
    for loss, expected in (
        ({"steps": [0, 1, 2], "values": [0.5, float("nan"), 0.25]}, [[0, 2], [0.5, 0.25]]),
        ({"steps": [0, 1], "values": [0.5, None]}, [[0], [0.5]]),
        ({"steps": [], "values": []}, None),
        (None, None),
    ):
        write_json(tmp_path / "result.json", {"status": "failed", "recipe": run.recipe, "loss": loss})
        curve = curve_of(run)
        assert (None if curve is None else [part.tolist() for part in curve]) == expected
    write_json(tmp_path / "result.json", {"status": "done", "recipe": "another", "loss": {"steps": [0], "values": [1.0]}})
    assert curve_of(run) is None, "of another recipe"


def test_tensorboard_shows_table_and_figures(reported: Study) -> None:
    tags = EventAccumulator(str(reported.folder / "study")).Reload().Tags()
    assert "table/text_summary" in tags["tensors"]
    assert set(tags["images"]) == {"forest-my_card-blend", "forest-my_card-random"}


def test_a_study_without_results_has_a_report(tmp_path: Path, fake: Callable[..., Study]) -> None:
    study = fake(tmp_path, ("a",), done=False)
    write_report(study)
    assert {path.name for path in tmp_path.iterdir()} >= WRITTEN
    check_latex((tmp_path / "table.tex").read_text(encoding="utf-8"))
    assert pd.read_parquet(tmp_path / "scores.parquet").empty


def test_what_is_told_is_made_without_what_is_drawn() -> None:
    """The report's data and words know neither figures nor videos: a change of a plot cannot change a table."""
    folder = Path(model.__file__).parent
    for name in ("build", "configs", "curves", "formats", "model", "remarks"):
        found = re.findall(r"^ *(?:from|import) (\S+)", (folder / f"{name}.py").read_text(encoding="utf-8"), flags=re.M)
        assert found and not [each for each in found if re.search(r"matplotlib|PIL|report\.(figures|style|videos|write)", each)], name
