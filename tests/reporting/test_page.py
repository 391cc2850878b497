"""The page as people meet it: in a real browser, from a file; and the command that makes it."""

from __future__ import annotations

import json
import re
import shutil
from contextlib import nullcontext

import pyarrow.dataset as ds
import pytest
from typer.testing import CliRunner

from inspector.cli import app
from inspector.reporting.report import ReportConfig, report
from inspector.results.verify import VerifyConfig, verify
from tests.pages import open_on_a_phone
from tests.reviewing.tables import row_of, write_table


@pytest.fixture(scope="module")
def written(site):
    """By the command, as a user writes it."""
    result = CliRunner().invoke(app, ["report", str(site.out)], env={"COLUMNS": "80"})
    assert result.exit_code == 0, result.output
    return site.out / "_report.html", result.stdout


@pytest.fixture(scope="module")
def html(written):
    return written[0].read_text(encoding="utf-8")


def test_the_terminal_says_where_it_is_and_what_is_next(site, written):
    file, said = written
    lines = said.splitlines()
    assert lines[0] == "photos     18, of them 2 failed (11.1 %)"
    assert f"report     {file}" in lines
    assert any(line.startswith("people     looked at 12:") for line in lines)
    assert "           inspector review '" in said.replace('"', "'")
    paths = [line for line in lines if str(site.out)[:20] in line]
    assert all(len(line) < 80 for line in lines if line not in paths)
    assert "\x1b" not in said


def test_readers_of_the_table_do_not_see_the_page(site, written):
    assert ds.dataset(str(site.out)).count_rows() == 18
    assert verify(VerifyConfig(out=site.out)).damage == ()


def test_names_that_mean_harm_are_text(html):
    assert "<img src=x" not in html and "<b>text" not in html and "\x1b" not in html
    assert "&lt;img src=x onerror=alert(1)&gt;\\x1b[31m.jpg" in html
    assert "&lt;b&gt;text.jpg" in html and "caf\\xe9.jpg" in html
    assert "night&#39;s results" in html


def test_a_photo_that_is_gone_or_another_is_not_shown(html, site):
    assert "no picture: vanished" in html and "no picture: the file has changed" in html
    figures = html.split("<template")[0].count('<figure class="card')
    assert f"3 of {figures} photos" in html, "and one that could not be read by the scan"


def test_a_persons_word_stands_beside_the_models(html, site):
    card = next(c for c in html.split("<figure") if "IMG_2.jpg" in c)
    model = site.rows["IMG_2.jpg"]
    assert f"p {model['p_crack']:.3f}" in card and "a person says crack" in card
    assert ("the model says" in card) == (model["verdict"] != "crack")


def test_json_is_data_and_writes_no_page(site, tmp_path):
    copy = shutil.copytree(site.out, tmp_path / "copy")
    (copy / "_report.html").unlink(missing_ok=True)
    result = CliRunner().invoke(app, ["report", str(copy), "--json"])
    assert json.loads(result.stdout)["photos"] == 18
    assert not (copy / "_report.html").exists()
    page = tmp_path / "page.html"
    asked = ["report", str(copy), "--json", "--html", str(page), "--pictures", "0"]
    result = CliRunner().invoke(app, asked)
    assert json.loads(result.stdout)["photos"] == 18
    assert "report" in result.stderr and page.exists()


def test_photos_that_moved_are_found(site, tmp_path):
    config = ReportConfig(out=site.out, html=tmp_path / "a.html", pictures=3)
    gone = ReportConfig(out=site.out, html=tmp_path / "b.html", pictures=3,
                         moved=f"{site.photos}=/nowhere")  # fmt: skip
    found = report(gone)
    assert report(config).total == found.total
    count = len(found.cracks) + len(found.review) + len(found.differing)
    assert found.said["--html"] == (
        f"{count} of {count} photos could not be shown; where they lie elsewhere now: "
        "--moved OLD=NEW"
    )
    here, there = ((tmp_path / name).read_text() for name in ("a.html", "b.html"))
    assert "data:image/jpeg" in here and "data:image/jpeg" not in there
    assert "--moved OLD=NEW" in there


@pytest.mark.parametrize("kind", ["interrupted", "damaged"])
def test_a_table_that_is_not_whole_says_so_at_the_top(tmp_path, kind):
    out = write_table(tmp_path / "out", [row_of(tmp_path / "a.jpg")])
    if kind == "interrupted":
        (out / "_inspector" / "manifest.json.partial").touch()
    else:
        (out / "_inspector" / "manifest.json").unlink()
    result = CliRunner().invoke(app, ["report", str(out)])
    assert f"\n{kind}" in result.stdout
    assert f"<b>{kind.capitalize()}:</b>" in (out / "_report.html").read_text()


@pytest.fixture(scope="module")
def page(browser, written):
    return open_on_a_phone(browser, written[0].as_uri())


def test_it_opens_alone_and_in_peace(page, written):
    wanted = [text for text in page.heard if not text.startswith("data:image/")]
    assert wanted == [written[0].as_uri()]
    assert page.evaluate("document.images.length") > 4
    assert page.evaluate(
        "[...document.querySelectorAll('img[src]')].every(i => i.naturalWidth > 0)"
    )
    assert page.evaluate("document.querySelectorAll('svg.site').length") == 2


def test_pictures_keep_their_shape_and_marks_lie_on_them(page):
    shapes = page.evaluate("""[...document.querySelectorAll('.frame .photo')].map(photo => {
        const box = photo.getBoundingClientRect(), image = photo.querySelector('img');
        return [box.width / box.height, image.naturalWidth / image.naturalHeight];
    })""")
    assert all(abs(drawn / own - 1) < 0.03 for drawn, own in shapes)
    assert page.evaluate("document.querySelectorAll('.pair-of .region').length") >= 1


@pytest.mark.parametrize(
    ("scheme", "media", "light"),
    [("light", "screen", True), ("dark", "screen", False), ("dark", "print", True)],
)
def test_light_dark_and_paper(page, scheme, media, light):
    page.emulate_media(color_scheme=scheme, media=media)
    colours = [
        page.evaluate(f"getComputedStyle(document.body).{name}")
        for name in ("backgroundColor", "color")
    ]
    paper, ink = (sum(map(int, re.findall(r"\d+", colour)[:3])) / 3 for colour in colours)
    assert (paper > 200) == light and (ink < 100) == light


def test_a_phone_needs_no_sideways_scrolling(page):
    page.emulate_media(color_scheme="light", media="screen")
    assert page.evaluate("document.documentElement.scrollWidth") <= 400


def test_a_photo_can_be_looked_at_closely(page, site):
    """By keys alone: open it, zoom, go on to the next one, and back to the page."""
    page.emulate_media(color_scheme="light", media="screen")
    page.locator("figure.pair-of .frames").first.focus()
    page.keyboard.press("Enter")
    page.wait_for_selector("#closer[open] .photo:not([hidden])")
    first = page.text_content("#closer strong")
    fitted = page.evaluate("document.querySelector('#closer .photo').getBoundingClientRect().width")
    page.keyboard.press("+")
    zoomed = page.evaluate("document.querySelector('#closer .photo').getBoundingClientRect().width")
    assert zoomed == pytest.approx(1.5 * fitted, rel=0.01)
    assert page.get_attribute("#closer .bar-of a", "href").startswith("file:///")
    page.keyboard.press("ArrowRight")
    page.wait_for_function("name => document.querySelector('#closer strong').textContent != name",
                           arg=first)  # fmt: skip
    page.keyboard.press("Escape")
    assert not page.evaluate("document.getElementById('closer').open")
    assert page.evaluate("document.activeElement.className") == "frames"
    others = [text for text in page.heard if not text.startswith("data:image/")]
    assert others.pop(0) == page.url
    assert all(text.startswith(site.photos.as_uri()) for text in others), "the photos themselves"


def test_page_of_a_table_in_a_bucket_names_no_command_that_is_refused(tmp_path, monkeypatch):
    out = write_table(tmp_path / "out", [row_of(tmp_path / "a.jpg")])
    monkeypatch.setattr("inspector.reporting.report.at_hand", lambda _: nullcontext(out))
    report(ReportConfig(out="s3://walls/results", html=tmp_path / "page.html"))
    page = (tmp_path / "page.html").read_text()
    assert "inspector review s3" not in page
    assert "<code>inspector merge s3://walls/results --out DIR</code>" in page
