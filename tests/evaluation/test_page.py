"""The report as people meet it: in a real browser, from a file, with hostile names."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pyarrow.parquet as pq
import pytest

from inspector.errors import OutputError
from inspector.evaluation.figures import assess
from inspector.evaluation.page import FILES, Subject, TrainingRun, check_free, write_report
from inspector.labelled.leaks import Leak, LeakAudit, LeakKind
from inspector.types import FailureCode
from tests.evaluation.known import THRESHOLDS, predictions_of
from tests.pages import check_charts, open_on_a_phone


@pytest.fixture(scope="module")
def written(photos, tiny_bundle, tmp_path_factory):
    """A page with everything on it: mistakes of each kind, leaks, widths, a training, a failure."""
    out = tmp_path_factory.mktemp("written") / "report"
    sources = ["</script><b>east", "west", "$x$ & <y>"]
    judged = predictions_of(
        [0.1, 0.2, 0.9, 0.8, 0.45, 0.6, 0.95, 0.05],
        [True, True, False, False, True, False, True, False],
        sources=[sources[k % 3] for k in range(8)], paths=photos,
    )  # fmt: skip
    judged = replace(
        judged, width_px_N=np.arange(8.0),
        failures=((replace(judged.images[0], path="/w/<i>cut.jpg"), FailureCode.TRUNCATED),),
    )  # fmt: skip
    bundle = replace(tiny_bundle, thresholds=THRESHOLDS)
    leaks = LeakAudit(("training", "evaluation"), 20, 8,
                      (Leak(LeakKind.SAME_PIXELS, photos[6], "/gone/<u>.jpg"),
                       Leak(LeakKind.SAME_GROUP, photos[5], photos[1])))  # fmt: skip
    history = [{"epoch": k, "train_loss": 1 / k, "validation_loss": 1.1 / k, "train_accuracy": 0.8,
                "validation_accuracy": 0.7, "learning_rate": 1e-3} for k in (1, 2)]  # fmt: skip
    subject = Subject(title="A <title>", data="/walls", made="today", gallery=1,
                      training=TrainingRun(history, "loss <nan>", {"epochs": "2"}))  # fmt: skip
    evaluation = assess(judged, bundle, leaks=leaks)
    write_report(out, subject, evaluation, judged, bundle, leaks)
    return out


def test_write_report_writes_three_files(written):
    assert sorted(file.name for file in written.iterdir()) == sorted(FILES)
    check_free(written)
    table = pq.read_table(written / "predictions.parquet").to_pylist()
    assert [row["path"] for row in table] == sorted(row["path"] for row in table)
    assert sum(row["leaked"] for row in table) == 2
    (failed,) = (row for row in table if row["p_crack"] is None)
    assert (failed["failure_code"], failed["verdict"]) == ("truncated", None)


def test_check_free_refuses_a_folder_with_other_files(tmp_path):
    (tmp_path / "thesis.docx").write_text("years of work")
    with pytest.raises(OutputError, match=r"thesis\.docx"):
        check_free(tmp_path)


def test_page_escapes_hostile_names(written):
    page = (written / "report.html").read_text(encoding="utf-8")
    assert "<img src=x" not in page and "<i>cut" not in page and "<y>" not in page
    assert "&lt;img src=x onerror" in page and "a&amp;amp;b.jpg" in page
    assert "\x1b" not in page
    names = re.findall(r'\bid="([^"]+)"', page)
    assert len(names) == len(set(names)), "ids of different charts collide"
    assert "var(--ink)" in page and "#0101" not in page and "#0102" not in page


def test_page_counts_images_that_are_not_shown(written):
    page = (written / "report.html").read_text(encoding="utf-8")
    assert "Cracks called clear: 2" in page and "The first 1 of 2 are shown" in page
    assert "Without those images: " in page and "2 of 8 images are not new" in page


@pytest.fixture(scope="module")
def page(browser, written):
    return open_on_a_phone(browser, written.joinpath("report.html").as_uri())


def test_page_loads_nothing_from_outside(page, written):
    wanted = [text for text in page.heard if not text.startswith("data:image/")]
    assert wanted == [written.joinpath("report.html").as_uri()]
    assert page.title() == "A <title>"
    assert page.evaluate("document.images.length") > 4
    assert page.evaluate("[...document.images].every(image => image.naturalWidth > 0)")


def test_heat_maps_can_be_switched_off(page):
    shown = "getComputedStyle(document.querySelector('.heat')).display"
    assert page.evaluate(shown) != "none"
    page.click("label.toggle")
    assert page.evaluate(shown) == "none"
    page.click("label.toggle")
    assert page.evaluate(shown) != "none"


@pytest.mark.parametrize(("scheme", "media", "light"),
                         [("light", "screen", True), ("dark", "screen", False),
                          ("dark", "print", True)])  # fmt: skip
def test_page_follows_light_dark_and_print(page, scheme, media, light):
    page.emulate_media(color_scheme=scheme, media=media)
    colours = [
        page.evaluate(f"getComputedStyle(document.querySelector('{place}')).{property}")
        for place, property in (
            ("body", "backgroundColor"),
            ("body", "color"),
            ("svg.chart text", "fill"),
        )
    ]
    paper, ink, axis = (sum(map(int, re.findall(r"\d+", colour)[:3])) / 3 for colour in colours)
    assert (paper > 200) == light and (ink < 100) == light and axis == ink


def test_paper_has_what_is_folded_and_every_whole_path(page):
    seen = "document.querySelector('details:not([open]) pre').checkVisibility()"
    page.emulate_media(media="screen")
    assert not page.evaluate(seen)
    page.emulate_media(media="print")
    assert page.evaluate(seen)
    paths = page.locator(".gallery .file").all_text_contents()
    assert paths and all("/" in path for path in paths)
    files = "[...document.querySelectorAll('.gallery .file')]"
    assert not page.evaluate(f"{files}.some(file => file.scrollWidth > file.clientWidth)")


def test_page_fits_a_phone(page):
    page.emulate_media(color_scheme="light", media="screen")
    check_charts(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= 400
