"""What is said is kept, and of the photo that it was said of, whatever comes late or not at all."""

from __future__ import annotations

from typing import Any

import pytest
from PIL import Image

from inspector.results.labels import read_decisions
from tests.pages import CHROMIUM
from tests.reviewing.live import Page, reviewing
from tests.reviewing.tables import row_of, write_table
from tests.said import read_labels

PHOTOS = 24

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on this machine")


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    """Photos to review, in the order of their names, and a crack."""
    root = tmp_path_factory.mktemp("kept")
    rows = []
    for k in range(PHOTOS):
        file = root / f"wall-{k:02}.png"
        Image.new("RGB", (90, 70), (9 * k, 99, 99)).save(file)
        crack = {"verdict": "crack", "reason": "model", "p_crack": 0.9}
        about = {"p_crack": 0.6 - k / 100} if k < PHOTOS - 1 else crack
        rows.append(row_of(file, width=90, height=70, **about))
    return write_table(root / "out", rows)


@pytest.fixture(scope="module")
def server(out):
    with reviewing(out) as live:
        yield live


@pytest.fixture
def page(browser, server):
    opened = Page(browser, server.address)
    yield opened
    assert opened.wrong == []
    opened.page.close()


def hold(page, address):
    """Requests that wait until somebody lets them go."""
    waiting: list[Any] = []
    page.page.route(address, lambda route: waiting.append(route))
    return waiting


def wait_for(page, found):
    for _ in range(500):
        if found():
            return
        page.page.wait_for_timeout(20)
    raise AssertionError("it never came")


def abort(route):
    route.abort()


def labels_in(out):
    return {row["uri"]: row["label"] for row in read_labels(out).to_pylist()}


def test_nothing_is_decided_while_a_decision_is_taken_back(page, out):
    first = page.shown
    page.page.keyboard.press("c")
    page.wait_for_photo()
    page.wait_until_saved()
    second, undoing = page.shown, hold(page, "**/api/undo")
    page.page.keyboard.press("u")
    page.page.keyboard.press("n")
    page.page.wait_for_selector("#toast:has-text('being taken back')")
    wait_for(page, lambda: undoing)
    undoing[0].continue_()
    page.wait_for_photo()
    page.wait_until_saved()
    assert page.shown == first
    assert not {first, second} & set(labels_in(out))
    page.page.keyboard.press("n")
    page.wait_for_photo()
    page.wait_until_saved()
    assert labels_in(out)[first] == "clear"


def test_what_was_lost_stays_to_be_read(page):
    page.page.route("**/api/labels", abort)
    page.page.route("**/api/undo", abort)
    page.page.keyboard.press("c")
    page.page.wait_for_selector("#toast.bad:has-text('NOT SAVED')")
    page.page.keyboard.press("x")
    assert "region" not in page.page.text_content("#toast")
    page.page.keyboard.press("u")
    page.page.wait_for_selector("#toast.bad:has-text('NOT TAKEN BACK')")
    assert "NOT SAVED" in page.page.text_content("#toast")
    page.page.keyboard.press("Escape")
    assert not page.page.is_visible("#toast")
    page.page.keyboard.press("x")
    assert "region" in page.page.text_content("#toast")


def test_a_note_that_is_being_written_outlives_the_page(page, out):
    page.page.on("dialog", lambda dialog: dialog.accept())
    page.page.keyboard.press("t")
    page.page.keyboard.type("spalled here")
    page.page.reload()
    notes = {page.shown: "spalled here"}
    wait_for(page, lambda: notes.items() <= {
        row["uri"]: row["note"] for row in read_decisions(out).to_pylist()}.items())  # fmt: skip


def test_what_failed_once_is_asked_for_again(page):
    page.page.route("**/api/photo/*/*", abort)
    page.page.click("#list li:last-child")
    page.page.wait_for_selector("#notice:has-text('nothing to show')")
    page.page.unroute("**/api/photo/*/*")
    page.page.keyboard.press("ArrowLeft")
    page.page.wait_for_selector("#photo", state="visible")
    page.page.keyboard.press("ArrowRight")
    page.page.wait_for_selector("#verdict.crack")
    page.page.wait_for_selector("#photo", state="visible")
    assert not page.page.is_visible("#notice")


def test_a_page_of_an_earlier_review_says_so(page):
    page.page.route("**/api/labels", lambda route: route.fulfill(status=403, body="no"))
    page.page.keyboard.press("c")
    page.page.wait_for_selector("#toast.bad:has-text('belongs to an earlier review')")


def test_the_list_is_the_one_that_was_asked_for_last(page):
    cracks = hold(page, "**/api/queue?verdict=crack")
    page.page.select_option("select[name=verdict]", "crack")
    wait_for(page, lambda: cracks)
    page.page.select_option("select[name=verdict]", "review")
    page.page.wait_for_selector(f"#progress:has-text('of {PHOTOS - 1} labelled')")
    with page.page.expect_response("**/api/queue?verdict=crack"):
        cracks[0].continue_()
    page.page.wait_for_timeout(200)
    assert f"of {PHOTOS - 1} labelled" in page.progress()
    assert page.page.is_visible("#verdict.review")


def test_photos_that_were_left_are_no_longer_asked_for(page):
    given_up: list[str] = []
    page.page.on("requestfailed", lambda request: given_up.append(request.url))
    for address in ("**/api/photo/*/*", "**/api/row/*/*"):
        hold(page, address)
    for _ in range(PHOTOS - 8):
        page.page.keyboard.press("ArrowRight")
    wait_for(page, lambda: len(given_up) >= 4)
    assert {url.split("/")[-3] for url in given_up} == {"photo", "row"}
    page.page.wait_for_timeout(100)
    assert not page.page.is_visible("#toast")


def with_heat(route):
    answer = route.fetch()
    route.fulfill(response=answer, json=answer.json() | {"heat": True})


def test_a_heat_map_that_is_switched_off_is_no_longer_asked_for(page):
    page.page.route("**/api/about", with_heat)
    page.page.reload()
    page.page.wait_for_selector("body[data-shown]")
    given_up: list[str] = []
    page.page.on("requestfailed", lambda request: given_up.append(request.url))
    waiting = hold(page, "**/api/heat/*/*")
    page.page.keyboard.press("h")
    wait_for(page, lambda: waiting)
    page.page.keyboard.press("h")
    wait_for(page, lambda: any("/api/heat/" in url for url in given_up))
    assert not page.page.is_visible("#toast")
    assert "busy" not in page.page.get_attribute("#heat-button", "class")


def much_larger(route):
    answer = route.fetch()
    sides = {"x-width": "9000", "x-height": "7000"}
    route.fulfill(response=answer, headers={**answer.headers, **sides})


def test_a_part_that_does_not_get_sharp_says_so(page):
    page.page.route("**/api/photo/*/*", much_larger)
    page.page.route("**/api/region/**", abort)
    page.page.click("#list li:last-child")
    page.page.wait_for_selector("#toast:has-text('Not sharp, only reduced')")


def test_keys_alone_choose_and_mark_and_can_be_switched_off(page, out):
    press = page.page.keyboard.press
    page.page.focus("#list")
    before = page.progress()
    press("ArrowDown")
    page.wait_for_photo()
    chosen = page.page.get_attribute("#list", "aria-activedescendant")
    assert page.page.get_attribute(f"#{chosen}", "aria-selected") == "true"
    assert page.page.text_content("#now").startswith(page.shown.rpartition("/")[2])
    press("Space")
    press("m")
    press("Enter")
    page.page.wait_for_selector(".region.crack", state="attached")
    page.wait_until_saved()
    assert page.progress() == before, "the list's Space labels nothing"
    (said,) = [row for row in read_decisions(out).to_pylist() if row["uri"] == page.shown]
    (mark,) = said["regions"]
    assert [mark[name] for name in ("x", "y", "width", "height")] == [45, 35, 0, 0]
    press("?")
    page.page.uncheck("#letters")
    press("Escape")
    press("s")
    press("ArrowRight")
    page.wait_for_photo()
    page.wait_until_saved()
    assert page.progress() == before


def test_there_is_room_for_the_photo_on_small_screens(page):
    page.page.set_viewport_size({"width": 320, "height": 640})
    assert page.page.locator("#peak-button").bounding_box()["x"] >= 0
    page.page.set_viewport_size({"width": 640, "height": 400})
    assert page.page.locator("#stage").bounding_box()["height"] >= 290
    assert page.page.locator("#crack").bounding_box()["y"] < 380
    undo = page.page.locator("#undo").bounding_box()
    assert undo["x"] + undo["width"] <= 640 and undo["y"] < 380
    page.page.click("#menu")
    page.page.fill("#text", "no such photo")
    page.page.wait_for_selector("#note:disabled", state="attached")
    page.page.fill("#text", "")
    page.page.wait_for_selector("#note:enabled", state="attached")
