"""All cracks in the page: sorted, filtered, paged and printed by it, in the words of the report."""

from __future__ import annotations

import json
import os
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import unquote_to_bytes

import pytest
from PIL import Image

from inspector.core.text import display_path
from inspector.errors import UsageError
from inspector.reporting.page import Cover
from inspector.reporting.report import ReportConfig, report
from inspector.reporting.wording import limit, note, regions, said, verdict, when_and_where
from inspector.results.labels import Decision, Label, RegionLabel, open_labels, read_decisions
from inspector.results.query import Query
from inspector.results.reader import Table
from tests.pages import open_on_a_phone
from tests.reporting.conftest import label
from tests.reporting.test_regions import dense_row, region_of
from tests.reviewing.tables import row_of, write_table

ABOUT = {"taken_at": datetime(2026, 5, 1, 8, 3), "gps_lat": 47.123456, "gps_lon": 14.5}
COUNT = 60


def rows_in(folder):
    """Cracks of all kinds, none of which has a file, and some photos to review."""
    rows = [
        row_of(folder / f"span {k % 3}" / f"IMG_{k}.jpg", verdict="crack", reason="model",
               p_crack=0.75 + k / 1000, width=90, height=70)
        for k in range(COUNT - 3)
    ]  # fmt: skip
    rows.append(dense_row(folder / "große" / "a<b>&%.jpg", region_of(0.97, 820, 1100),
                          region_of(0.4, 3, 3), mm_per_px=0.5, p_crack=0.8, **ABOUT))  # fmt: skip
    rows.append(dense_row(folder / "none.jpg", p_crack=0.801))
    rows.append(row_of(folder / "said.jpg", verdict="clear", reason="model", p_crack=0.01))
    rows += [row_of(folder / f"open {k}.jpg", p_crack=0.4) for k in range(3)]
    return [*rows, row_of(folder / "empty.jpg", failure_code="empty")]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    root = tmp_path_factory.mktemp("gallery")
    rows = rows_in(root / "photos")
    out = write_table(root / "out", rows[:20], rows[20:])
    label(out, {rows[COUNT - 1]["uri"]: "crack", rows[COUNT]["uri"]: "unsure"})
    with open_labels(out, "ann") as store:
        for k, count in ((COUNT - 3, 2), (COUNT - 2, 1)):
            about = {name: rows[k][name] for name in ("content_hash", "size_bytes", "mtime")}
            marks = tuple(RegionLabel(9 * n, 9, 90, 90, Label.CRACK) for n in range(count))
            about |= {"uri": rows[k]["uri"], "label": None, "verdict": "crack", "p_crack": 0.8}
            store.add(Decision(model=None, regions=marks, note="a </script> & more", **about))
    config = ReportConfig(out=out, html=root / "page.html", title="Bridge <7>", pictures=5)
    return root / "page.html", report(config), out


@pytest.fixture(scope="module")
def page(browser, made):
    page = open_on_a_phone(browser, made[0].as_uri())
    yield page
    page.close()


def test_it_says_what_stands_in_the_table(made):
    file, counted, _ = made
    html = file.read_text()
    found, left = "60 of 64 photos show a crack", "3 are left to a person"
    assert verdict(counted) == f"{found}; {left} and 1 could not be judged."
    assert verdict(counted) in html and "<h1>Bridge &lt;7&gt;</h1>" in html
    assert "copy it again from the camera" in html, "the remedy"
    assert "63 photos have no place" in html


def test_every_crack_is_listed_in_the_words_of_the_report(made, page):
    """The script and Python say the same of each."""
    page.select_option("[data-kind=crack] .by-look", "list")
    shown = page.evaluate("""[...document.querySelectorAll('[data-kind=crack] tbody tr')].map(
        row => [...row.cells].slice(1).map(cell => cell.textContent))""")
    with closing(Query(Table.open(made[2]), read_decisions(made[2]))) as query:
        rows = query.rows(range(64), [
            "path", "verdict", "p_crack", "reason", "failure_code", "regions", "mm_per_px",
            "taken_at", "gps_lat", "gps_lon"])  # fmt: skip
    of = {Path(row["path"]).name: row for row in rows}
    assert len(shown) == COUNT
    for name, about, when in shown:
        row = of[name.rpartition("/")[2]]
        assert about == " · ".join(filter(None, [said(row, "crack"), regions(row), note(row)]))
        assert when == when_and_where(row)
    first, second = (name.rpartition("/")[2] for name, *_ in shown[:2])
    assert (first, second) == ("said.jpg", "IMG_56.jpg"), "what people say, then the likeliest"


def test_it_sorts_filters_and_turns_pages(page):
    def names():
        return page.evaluate(
            "[...document.querySelectorAll('[data-kind=crack] figure .name')].map(n => n.innerText)"
        )

    page.select_option("[data-kind=crack] .by-look", "cards")
    assert len(names()) == 24
    page.click("[data-kind=crack] .pager [data-step='1']")
    page.click("[data-kind=crack] .pager [data-step='1']")
    assert len(names()) == COUNT - 48
    page.select_option("[data-kind=crack] .by-order", "longest")
    assert names()[0] == "große/a<b>&%.jpg"
    href = page.get_attribute("[data-kind=crack] figure .name", "href")
    assert href == "./photos/große/a%3Cb%3E&%25.jpg"
    page.select_option("[data-kind=crack] .by-order", "name")
    assert names()[1] == "none.jpg", "in the order of words, with numbers as numbers"
    page.select_option("[data-kind=crack] .by-folder select", label="span 1")
    assert len(names()) == 19 and all(name.startswith("span 1/") for name in names())
    page.fill("[data-kind=crack] input", "IMG_4")
    page.wait_for_selector("[data-kind=crack] .cards:not(:has(:nth-child(19)))")
    assert names() == [f"span 1/IMG_{k}.jpg" for k in (4, 40, 43, 46, 49)]
    assert page.text_content("[data-kind=crack] .many") == "5 of 60 photos"
    page.fill("[data-kind=crack] input", "")
    page.select_option("[data-kind=crack] .by-folder select", "")
    page.select_option("[data-kind=crack] .by-why select", label="crack")
    assert names() == ["said.jpg"]
    page.select_option("[data-kind=crack] .by-why select", "")


NAMES = (b"Br\xfccke.jpg", "span\u202f1.jpg".encode(), "span\u00a02.jpg".encode(),
         "Bru\u0308cke 3.jpg".encode(), b"50% of (a) [b]'s.jpg")  # fmt: skip
"""Not UTF-8, from a Mac's screenshots, not to be broken, with accents apart, and with marks."""


@pytest.fixture(scope="module")
def odd(browser, tmp_path_factory):
    """A page whose pictures are the files themselves, which have odd names."""
    root = tmp_path_factory.mktemp("odd")
    (root / "photos").mkdir()
    rows = []
    for name in NAMES:
        file = root / "photos" / os.fsdecode(name)
        Image.new("RGB", (90, 70), (99, 99, 99)).save(file)
        row = row_of(file, verdict="crack", reason="model", width=90, height=70)
        rows.append(row | {"path": display_path(str(file))})
    out = write_table(root / "out", rows)
    report(ReportConfig(out=out, html=root / "page.html", pictures=0))
    page = open_on_a_phone(browser, (root / "page.html").as_uri())
    yield page
    page.close()


def test_gallery_shows_and_links_files_whatever_their_names(odd):
    odd.wait_for_function("[...document.querySelectorAll('figure')].length == 5")
    links = odd.evaluate("[...document.querySelectorAll('a.name')].map(name => name.href)")
    assert sorted(unquote_to_bytes(link.rpartition("/")[2]) for link in links) == sorted(NAMES)
    for k in range(5):
        odd.locator("figure").nth(k).scroll_into_view_if_needed()
    odd.wait_for_function(
        "[...document.querySelectorAll('figure img')].filter(i => i.naturalWidth == 90).length == 5"
    )


@pytest.mark.parametrize("text", ["br\u00fccke", "BRU\u0308CKE"])
def test_gallery_finds_accents_however_they_are_written(odd, text):
    odd.fill("[data-kind=crack] input", text)
    odd.wait_for_selector("[data-kind=crack] .many:has-text('1 of 5 photos')")
    odd.fill("[data-kind=crack] input", "")
    odd.wait_for_selector("[data-kind=crack] .many:empty", state="attached")


def test_paper_has_cards_and_the_whole_list(page):
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    count = "document.querySelectorAll(`[data-kind=crack] ${name}`).length"
    counts = f"['figure', 'tbody tr'].map(name => {count})"
    assert page.evaluate(counts) == [48, COUNT]
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert page.evaluate(counts) == [24, 0]
    assert page.evaluate("document.documentElement.scrollWidth") <= 400
    assert [text for text in page.heard if not text.startswith(("file:", "Failed to load"))] == []


def test_paper_says_what_is_left_out_and_cuts_no_caption(page):
    def heights():
        return page.evaluate("""[...document.querySelectorAll('[data-kind=crack] figure')].map(
            figure => [figure.clientHeight, figure.scrollHeight])""")

    page.set_viewport_size({"width": 688, "height": 1000})  # A4 within its margins
    page.emulate_media(media="print")
    ordinary = heights()
    talls = [tall for tall, _ in ordinary]
    assert min(talls) == 393 and max(talls) < 480, "104 mm to 127 mm: four to a page"
    assert not page.is_visible("[data-kind=crack] .many")
    page.select_option("[data-kind=crack] .by-folder select", label="span 1", force=True)
    assert page.is_visible("[data-kind=crack] .many:has-text('19 of 60 photos')")
    page.evaluate("document.querySelector('.cards figcaption').append('a long note '.repeat(99))")
    (tall, whole), *others = heights()
    assert 480 < tall == whole and {one for one, _ in others} == {393}
    page.select_option("[data-kind=crack] .by-folder select", "", force=True)
    page.emulate_media(media="screen")
    page.set_viewport_size({"width": 400, "height": 800})


def test_everything_has_a_name(page):
    """What axe asks for first: one main landmark, and names of fields, buttons and columns."""
    assert page.evaluate("document.querySelectorAll('main').length") == 1
    nameless = page.evaluate("""[...document.querySelectorAll('input, select, button, th, img')]
        .filter(e => !(e.labels?.length || e.ariaLabel || e.textContent.trim() ||
                       e.hasAttribute('alt'))).map(e => e.outerHTML)""")
    assert nameless == []


def test_thresholds_are_those_of_the_photos(made):
    def of(facts, own):
        told: Any = Told(facts, own)
        return limit(told, "crack_from")

    class Told:
        def __init__(self, facts, own):
            self.facts, self.own_scale = facts, own
            self.total, self.model = made[1].total, made[1].model

    both = {"crack_from": "0.7", "dense_crack_from": "0.8"}
    assert of(both, 0) == of({"crack_from": "0.7"}, 9) == "0.7"
    assert of(both, 9) == "0.8 (0.7 for photos judged whole)"
    assert of(both, 63) == "0.8"
    assert of({}, 0) == "?"


def test_a_cover_is_read_and_nothing_else(tmp_path):
    Image.new("RGB", (900, 300)).save(tmp_path / "logo.jpg")
    file = tmp_path / "cover.toml"
    file.write_text('client = "Gemeinde <Groß>"\ndate = 2026-05-01\nlogo = "logo.jpg"\n')
    cover = Cover.read(file, "Bridge 7")
    assert cover.facts == [("client", "Gemeinde <Groß>"), ("date", "2026-05-01")]
    assert cover.title == "Bridge 7" and cover.logo.startswith("data:image/png;base64,")
    for text in ('clint = "x"', "client = true", "client = [1]", "client", 'logo = "no.png"',
                 'logo = "cover.toml"'):  # fmt: skip
        file.write_text(text)
        with pytest.raises(UsageError, match=r"cover\.toml|logo"):
            Cover.read(file)
    with pytest.raises(UsageError, match="nowhere"):
        Cover.read(tmp_path / "nowhere.toml")


def test_data_end_no_script(made):
    html = made[0].read_text()
    data = html.split('<script type="application/json">')[1].split("</script>")[0]
    assert "<" not in data and json.loads(data)["file"].count("a<b>&%.jpg") == 1
