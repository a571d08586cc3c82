"""The end of a run in a terminal: few lines, the verdicts of the report, what failed, and where the rest is."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from motion_ablation.study.plan.study import Study
from motion_ablation.study.report.build import build_report
from motion_ablation.study.report.model import Report
from motion_ablation.study.report.summary import print_summary


def printed(report: Report, folder: Path, width: int = 100, colored: bool = False) -> str:
    out = io.StringIO()
    print_summary(report, folder, Console(file=out, width=width, force_terminal=colored, color_system="standard" if colored else None))
    return out.getvalue()


@pytest.fixture(scope="module")
def report(reported: Study) -> Report:
    return build_report(reported)


def test_a_card_takes_few_lines_and_has_the_reports_verdicts(report: Report, reported: Study) -> None:
    text = printed(report, reported.folder, width=240)
    table = text[text.index("experiment") : text.index("mean scores")].splitlines()[1:]
    rows = {line.split("  ")[0]: line for line in table}
    assert list(rows) == ["baseline", "finer", "coarser", "wavering", "same (= baseline)", "broken (0 of 3 references)", "no_motion"]
    verdicts = {name: next((mark for mark in "▲▼◆○" if mark in line.split(".")[1]), "") for name, line in rows.items() if "." in line}
    assert verdicts == {"baseline": "", "finer": "▲", "coarser": "▼", "wavering": "○", "same (= baseline)": "", "no_motion": "▲"}
    (section,) = [section for section in report.sections if section.noise == "random"]
    (finer,) = [row for row in section.cards[0].scores.rows if row.name == "finer"]
    assert finer.values[0] is not None and f"{finer.values[0].mean:.3f} ▲" in rows["finer"]
    assert rows["broken (0 of 3 references)"].count("–") == 2
    assert "fid ↓" not in text and "text similarity ↑" in text, "what was not scored has no column"
    assert "against baseline: ▲ better, ▼ worse, ○ no difference shown" in text
    assert "3 of 18 runs without a result: broken/a: ValueError: " in text and f"motion-ablation status {reported.folder}" in text
    assert f"report: {reported.folder / 'report.html'}" in text
    assert len(text.strip().splitlines()) <= 12


def test_users_words_are_shown_as_they_are_and_marks_have_colours(report: Report, reported: Study) -> None:
    assert '<script>alert("x")</script> & 50% of {it}_' in printed(report, reported.folder, width=240)
    assert "\x1b[32m▲" in printed(report, reported.folder, colored=True)
    assert "\x1b[" not in printed(report, reported.folder)


def test_cards_that_share_a_baseline_show_it_once(report: Report, reported: Study) -> None:
    sections = [
        replace(section, cards=[section.cards[0], replace(section.cards[0], name="Another", stem="another")]) for section in report.sections
    ]
    text = printed(replace(report, sections=sections), reported.folder)
    assert text.count("\nbaseline ") == 1 and text.count("\nfiner ") == 2 and "\nAnother, random noise" in text


@pytest.mark.parametrize(("references", "done"), [(("a",), True), (("a", "b"), False)])
def test_partial_studies_end_well(references: tuple[str, ...], done: bool, tmp_path: Path, fake: Callable[..., Study]) -> None:
    text = printed(build_report(fake(tmp_path, references, done)), tmp_path)
    assert "without a result" in text and "report.html" in text and not set(text) & set("▲▼")
    assert ("no verdicts" in text and "\nbaseline " in text) == done
