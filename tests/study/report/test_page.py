"""The report's page: complete, safe, and shown by a real browser without any request."""

from __future__ import annotations

import base64
import io
import re
import shutil
import subprocess
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from PIL import Image

from motion_ablation.study.plan.study import Study
from motion_ablation.study.report.build import films_of
from motion_ablation.study.report.videos import strips
from motion_ablation.study.report.write import write_report
from motion_ablation.study.results import Results

REQUESTS = {"src", "srcset", "href", "data", "action", "poster", "background", "formaction", "xlink:href"}
VOID = {"meta", "link", "img", "source", "br", "hr", "input"}
CHROMIUM = next((path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None)


class Page(HTMLParser):
    """Collects addresses, images and text; refuses tags that are not closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.images: list[dict[str, str | None]] = []
        self.tags: list[str] = []
        self.anchors: set[str] = set()
        self.words = ""
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert not self._open, f"never closed: {self._open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        own = dict(attrs)
        self.tags.append(tag)
        self.addresses += [str(value) for name, value in attrs if name in REQUESTS]
        self.anchors |= {str(own["id"])} if "id" in own else set()
        assert not any(name.startswith("on") for name, _ in attrs)
        if tag == "img":
            self.images.append(own)
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag
        self.words += " " * (tag in ("td", "th", "li", "dd"))

    def handle_data(self, data: str) -> None:
        self.words += data


@pytest.fixture(scope="module")
def text(reported: Study) -> str:
    return (reported.folder / "report.html").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def page(text: str) -> Page:
    return Page(text)


def test_nothing_is_asked_of_a_network_or_of_other_files(page: Page, text: str) -> None:
    assert page.addresses and all(address.startswith(("data:", "#")) for address in page.addresses)
    assert not {"script", "iframe", "object", "embed", "base", "form"} & set(page.tags)
    assert not re.search(r"url\(|@import", text)
    assert {address[1:] for address in page.addresses if address.startswith("#")} <= page.anchors


def test_what_users_name_is_escaped(page: Page, text: str) -> None:
    nasty = '<script>alert("x")</script> & 50% of {it}_ for $ {5 $'
    assert "<script" not in text
    for place in (f"Card {nasty}", f"“{nasty}”", f"ValueError: {nasty}"):
        assert place in page.words
    assert any(nasty in str(image["alt"]) for image in page.images)


def test_images_decode_and_are_described(page: Page) -> None:
    kinds = set()
    for image in page.images:
        assert image["alt"]
        kind, content = re.fullmatch(r"data:image/([a-z+]+);base64,(.*)", str(image["src"])).groups()  # type: ignore[union-attr]
        kinds.add(kind)
        data = base64.b64decode(content)
        if kind == "webp":
            with Image.open(io.BytesIO(data)) as film:
                assert film.n_frames == 5 and film.size == (int(str(image["width"])), int(str(image["height"])))
                assert film.info["loop"] == 0
        else:
            drawing = ElementTree.fromstring(data)
            assert drawing.tag.endswith("svg")
            assert not [
                e for e in drawing.iter() for name, value in e.attrib.items() if name.endswith("href") and not value.startswith("#")
            ]
    assert kinds == {"webp", "svg+xml"}


def test_the_page_holds_the_findings(page: Page, reported: Study) -> None:
    words = " ".join(page.words.split())
    shown = words[words.index("What is shown", words.index("Configurations")) : words.index("Every other difference")]
    assert re.search(r"finer: text similarity better by 0\.2\d\d \(95 % interval of the difference \+0\.1\d+ to \+0\.2\d+\)", shown)
    assert re.search(r"coarser: text similarity worse by 0\.\d+", shown)
    assert "wavering" not in shown and "same" not in shown
    assert "same: the same runs as baseline." in words
    assert "Runs without a result (3 of 18)" in words and "broken/a" in words
    assert "15 of 18 done, 3 failed" in words
    for heading in ("Videos", "Training", "Cost", "Configurations", "Versions and protocols", "How to read the tables"):
        assert heading in words
    assert "model.optimizer.lr 0.15 0.5" in words and "Nothing is changed: the defaults." in words
    assert "torch 9.9" in words and "network: CLIP" in words
    assert "finer 3 of 3 1,234 30 24 10 30" in words, "cost"


def test_rows_of_videos_are_in_step_and_bounded(reported: Study) -> None:
    films = films_of(Results(reported))
    shown = strips(films)
    assert len(shown) == len(films) == 3 * 2 * 2 * 2
    assert [strip.film.seed for strip in shown] == [0] * 12 + [1] * 12, "first seeds come first"
    columns = shown[0].film.columns
    assert columns[:3] == ["reference", "baseline", "no_motion"] and "same" not in columns
    assert shown[0].size == (128 * len(columns), 128)
    sizes = [len(strip.moving) + len(strip.still) for strip in shown]
    assert len(strips(films, limit=1)) == 1
    some = strips(films, limit=sum(sizes[:5]))
    assert [strip.film for strip in some] == films[:5] == [strip.film for strip in shown[:5]]
    with Image.open(io.BytesIO(base64.b64decode(shown[0].moving.split(",")[1]))) as film:
        times = []
        for frame in range(5):
            film.seek(frame)
            film.load()
            times.append(film.info["duration"])
    assert sum(times) == 625, "5 frames at 8 a second"


def test_a_missing_video_is_grey_and_said_to_be_missing(tmp_path: Path, fake: Callable[..., Study]) -> None:
    study = fake(tmp_path, ("a",))
    for path in (tmp_path / "finer" / "a" / "frames").glob("*_0_blend.npz"):
        path.unlink()
    film = films_of(Results(study))[0]
    assert set(film.columns) - set(film.videos) == {"finer"}
    with Image.open(io.BytesIO(base64.b64decode(strips([film])[0].still.split(",")[1]))) as picture:
        left = 128 * film.columns.index("finer")
        pixels = picture.convert("L").crop((left + 16, 16, left + 112, 112))
        assert all(abs(value - 128) < 6 for value in pixels.getextrema())


@pytest.mark.parametrize(("references", "done"), [(("a",), True), (("a", "b"), False)])
def test_partial_studies_have_a_page(references: tuple[str, ...], done: bool, tmp_path: Path, fake: Callable[..., Study]) -> None:
    study = fake(tmp_path, references, done)
    write_report(study)
    words = " ".join(Page((tmp_path / "report.html").read_text(encoding="utf-8")).words.split())
    if done:
        assert "One reference: nothing can be said of others" in words and "finer text similarity ↑ +" in words
    else:
        assert "No run has finished" in words and "not run yet" in words and "Initial noise" not in words


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on the path")
@pytest.mark.parametrize("width", [1300, 390])
def test_a_browser_shows_it(width: int, text: str, tmp_path: Path) -> None:
    """Chromium decodes every image, the page is no wider than the window, and nothing is requested."""
    probe = """<script>addEventListener("load", () => {
      const images = [...document.images];
      document.body.dataset.images = images.length;
      document.body.dataset.decoded = images.filter(image => image.complete && image.naturalWidth > 0).length;
      document.body.dataset.requests = performance.getEntriesByType("resource").filter(entry => !entry.name.startsWith("data:")).length;
      document.body.dataset.wider = document.documentElement.scrollWidth - document.documentElement.clientWidth;
    })</script></body>"""
    policy = re.search(r"<meta http-equiv=\"Content-Security-Policy\"[^>]*>", text)
    assert policy is not None and "default-src 'none'" in policy[0], "scripts are off in the page itself"
    path = tmp_path / "page.html"
    path.write_text(text.replace(policy[0], "").replace("</body>", probe), encoding="utf-8")
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
    options += ["--disable-component-update", "--disable-sync", f"--user-data-dir={tmp_path / 'profile'}", "--virtual-time-budget=20000"]
    command: list[Any] = [CHROMIUM, *options, f"--window-size={width},2000", "--dump-dom", path.as_uri()]
    dom = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout
    found = dict(re.findall(r"data-(images|decoded|requests|wider)=\"(-?\d+)\"", dom))
    assert int(found["images"]) == text.count("<img ") > 24
    assert found["decoded"] == found["images"]
    assert found["requests"] == "0" and found["wider"] == "0"
