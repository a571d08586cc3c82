"""What people write into YAML by mistake: refused with file and line."""

from __future__ import annotations

from pathlib import Path

import pytest

from motion_ablation.configure.documents import read_yaml
from motion_ablation.study.plan.cards import CardError, read_card


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("model: {a: 1}\ndata: {}\nmodel: {b: 2}\n", "line 3: key 'model' is there twice, first in line 1"),
        ("model:\n  a: 1\n  b: 2\n  a: 3\n", "line 4: key 'a' is there twice, first in line 2"),
        ("model: {a: 1, a: 1}\n", "line 1: key 'a' is there twice"),
        ("list:\n  - {x: 1, x: 2}\n", "line 2: key 'x' is there twice"),
        ("model:\n\ta: 1\n", "line 2: not YAML: .*indent with spaces, not tabs"),
        ("", "is empty"),
        ("# only a comment\n", "is empty"),
        ("- a\n- b\n", "must be a mapping of keys to values, not list"),
        ("model: {a: 1\n", "not YAML"),
    ],
)
def test_mistakes_name_the_file_and_the_line(tmp_path: Path, text: str, told: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(ValueError, match=told) as caught:
        read_yaml(path)
    assert str(caught.value).startswith(f"{path}") and "\n" not in str(caught.value)
    with pytest.raises(CardError, match=told):
        read_card(path)


def test_another_encoding_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_bytes("name: Übung\n".encode("latin-1"))
    with pytest.raises(ValueError, match="save it as UTF-8"):
        read_yaml(tmp_path / "a.yaml")


def test_good_files_are_read_as_yaml_reads_them(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_bytes(b"\xef\xbb\xbfbase: &base {a: 1, b: 2}\nmine:\n  <<: *base\n  b: 3\n")
    assert read_yaml(path) == {"base": {"a": 1, "b": 2}, "mine": {"a": 1, "b": 3}}
