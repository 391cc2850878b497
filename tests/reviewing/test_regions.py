"""Regions in the review: marked on the photo, labelled one by one, never against the photo."""

from __future__ import annotations

import json

import pytest
from PIL import Image

from inspector.core.layout import Layout
from inspector.library.frames import Results
from inspector.results.labels import read_decisions
from tests.pages import CHROMIUM
from tests.photos.turned import TURNS, save_turned
from tests.reviewing.live import reviewing
from tests.reviewing.tables import row_of, write_table
from tests.said import read_labels

WIDTH, HEIGHT = 2400, 1500
BOXES = [(1800, 120, 300, 200), (100, 900, 224, 224)]


def make(folder, turns=(1,)):
    """Grey photos with two red regions, stored as each of `turns` says."""
    photo = Image.new("RGB", (WIDTH, HEIGHT), (110, 110, 110))
    for x, y, width, height in BOXES:
        photo.paste((200, 20, 20), (x, y, x + width, y + height))
    regions = [
        {**dict(zip(("x", "y", "width", "height"), box, strict=True)), "p_crack": p,
         "length_at_least": 100.0, "length_at_most": 200.0, "stage": "fp32@224"}
        for box, p in zip(BOXES, (0.9, 0.4), strict=True)
    ]  # fmt: skip
    rows = [
        row_of(save_turned(photo, folder / f"{turn}.jpg", turn), view="dense", windows=3000,
               crack_windows=40, regions=regions, width=WIDTH, height=HEIGHT)
        for turn in turns
    ]  # fmt: skip
    return write_table(folder / "out", rows)


class Asked:
    """One photo in an open review, and what is said of it."""

    def __init__(self, live):
        self.live = live
        self.queue = live.get("api/queue")
        live.ask(f"api/photo/{self.queue['generation']}/0")

    def facts(self):
        return self.live.get(f"api/row/{self.queue['generation']}/0")

    def say(self, label, region=None, **changes):
        place = {"generation": self.queue["generation"], "row": 0, "uri": self.facts()["uri"]}
        said = place | {"label": label, "queue": self.queue["queue"]} | changes
        if region is None:
            return self.live.ask("api/labels", said)
        return self.live.ask("api/regions", said | {"region": region})

    def regions(self):
        return [region["human"] for region in self.facts()["regions"]]


def test_regions_are_labelled_beside_the_photo_and_outlive_the_server(tmp_path):
    out = make(tmp_path)
    with reviewing(out) as live:
        asked = Asked(live)
        assert asked.say("crack", 0)[0] == 200
        assert asked.say("clear", 1)[0] == 200
        assert asked.facts()["label"] is None, "the photo's own label is for a person to give"
        assert asked.say("crack")[0] == 200
        assert asked.regions() == ["crack", "clear"]
    (row,) = read_labels(out).to_pylist()
    assert row["label"] == "crack"
    assert [(r["x"], r["label"]) for r in row["regions"]] == [(1800, "crack"), (100, "clear")]
    with reviewing(out) as live:
        asked = Asked(live)
        assert (asked.facts()["label"], asked.regions()) == ("crack", ["crack", "clear"])
        assert asked.say("", 0)[0] == 200
        assert asked.regions() == [None, "clear"]
        live.ask("api/undo", {"queue": asked.queue["queue"]})
        assert asked.regions() == ["crack", "clear"]


def test_a_region_never_contradicts_its_photo(tmp_path):
    with reviewing(make(tmp_path)) as live:
        asked = Asked(live)
        asked.say("crack", 0)
        status, _, said = asked.say("clear")
        assert (status, said["error"]) == (422, "photo") and "marked a crack" in said["message"]
        asked.say("clear", 0)
        assert asked.say("clear")[0] == 200
        status, _, said = asked.say("crack", 1)
        assert status == 422 and "no crack" in said["message"]
        assert asked.regions() == ["clear", None]


def test_places_are_marked_and_notes_are_kept(tmp_path):
    out = make(tmp_path)
    with reviewing(out) as live:
        asked = Asked(live)
        place = {name: asked.facts()["uri"] if name == "uri" else 0 for name in ("row", "uri")}
        place |= {"generation": asked.queue["generation"], "queue": asked.queue["queue"]}
        point = {"x": 7, "y": 9, "width": 0, "height": 0}
        box = {"x": 2000, "y": 1400, "width": 400, "height": 100}
        note = "Fuge, nicht Ri\u00df <b>\u200b"
        assert asked.say("not_concrete")[0] == 200
        marking = live.ask("api/marks", place | point | {"label": "crack"})
        assert marking[0] == 422, "no crack in what is no concrete"
        assert asked.say("unsure")[0] == 200
        for mark in (point, box):
            assert live.ask("api/marks", place | mark | {"label": "crack"})[0] == 200
        assert live.ask("api/notes", place | {"note": f" {note} "})[0] == 200
        for wrong in ({"x": 2001}, {"y": -1}, {"width": 401}, {"label": "unsure"}, {"x": "1"}):
            assert live.ask("api/marks", place | box | {"label": "crack"} | wrong)[0] == 400, wrong
        assert live.ask("api/notes", place | {"note": "x" * 2001})[0] == 400
        assert asked.say("clear")[0] == 422, "a crack was marked"
        assert live.ask("api/marks", place | point | {"label": ""})[0] == 200
        facts = asked.facts()
        assert (facts["label"], facts["note"]) == ("unsure", note)
        assert facts["marks"] == [box | {"human": "crack"}]
        assert asked.regions() == [None, None]
        (listed,) = live.get(f"api/rows?queue={asked.queue['queue']}&start=0&count=9")
        assert listed["note"] == note
        assert live.ask("api/undo", {"queue": asked.queue["queue"]})[2]["row"]["marks"] != []
        status, headers, small = live.ask(f"api/thumb/{asked.queue['generation']}/0")
        assert (status, headers["X-Width"]) == (200, str(WIDTH)) and len(small) < 20_000
    (row,) = Results(out).to_arrow(["human_verdict", "note", "human_regions"]).to_pylist()
    assert (row["human_verdict"], row["note"], len(row["human_regions"])) == ("unsure", note, 2)


def test_what_is_no_region_is_refused(tmp_path):
    with reviewing(make(tmp_path)) as live:
        asked = Asked(live)
        for region, label in ((2, "crack"), (-1, "crack"), (0, "unsure"), (0, "maybe"), (1.5, "")):
            assert asked.say(label, region)[0] == 400, (region, label)
        assert asked.say("crack", 0, uri="file:///other.jpg")[0] == 409
        assert asked.regions() == [None, None]


def test_a_region_of_other_bytes_has_no_label(tmp_path):
    out = make(tmp_path)
    with reviewing(out) as live:
        Asked(live).say("crack", 0)
    lines = Layout(out).labels.read_text().splitlines()
    other = json.loads(lines[-1]) | {"content_hash": "1" * 64}
    Layout(out).labels.write_text(json.dumps(other) + "\n")
    Image.new("RGB", (60, 60)).save(tmp_path / "1.jpg")
    with reviewing(out) as live:
        asked = Asked(live)
        assert asked.regions() == [None, None]
        status, _, said = asked.say("crack", 0)
        assert status == 422 and "has changed" in said["message"]


@pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on this machine")
def test_boxes_lie_on_what_they_mark_and_keys_go_through_them(browser, tmp_path):
    with reviewing(make(tmp_path, TURNS)) as live:
        page = browser.new_page(viewport={"width": 1280, "height": 800})
        wrong = []
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.goto(live.address)
        shown = ""
        for _ in TURNS:
            page.wait_for_selector(f"body[data-shown]:not([data-shown='{shown}'])")
            shown = page.get_attribute("body", "data-shown")
            assert page.evaluate(RED_INSIDE) == [True, True, False], shown
            assert page.is_hidden("#peak")
            assert page.get_attribute("#scale", "title") == "clear below 0.2, crack from 0.8"
            page.keyboard.press("ArrowRight")
        keys = page.keyboard
        keys.press("y")
        page.wait_for_selector("#toast:has-text('Choose a region first')")
        keys.press("r")
        assert "1 of 2" in page.text_content("#region")
        assert "%" in page.text_content("#zoom")
        page.wait_for_selector(".sharp:not([hidden])")
        keys.press("y")
        page.wait_for_selector("#saved:not(.busy)")
        assert "2 of 2" in page.text_content("#region"), "the next one follows"
        keys.press("x")
        page.wait_for_selector("#saved:not(.busy)")
        assert [mark.split()[1] for mark in classes(page)] == ["crack", "clear"]
        keys.press("u")
        page.wait_for_selector("#toast:has-text('Taken back')")
        page.wait_for_function("document.querySelectorAll('.region.clear').length == 0")
        assert len(page.query_selector_all(".region.crack")) == 1
        keys.press("p")
        assert page.is_hidden(".regions")
        assert not wrong
        page.close()


class Page:
    """The review of a folder in a browser, with `photo` on its stage."""

    def __init__(self, browser, live, folder):
        self.folder = folder
        self.page = browser.new_page(viewport={"width": 1280, "height": 800})
        self.wrong: list[str] = []
        self.page.on("pageerror", lambda error: self.wrong.append(str(error)))
        self.page.goto(live.address)
        self.photo = ""
        self.turn()

    def turn(self, key=""):
        """Wait for another photo, after a key."""
        if key:
            self.page.keyboard.press(key)
        self.page.wait_for_selector(f"body[data-shown]:not([data-shown='{self.photo}'])")
        self.photo = self.page.get_attribute("body", "data-shown")

    def saved(self, toast=""):
        self.page.wait_for_selector("#saved:not(.busy)")
        if toast:
            self.page.wait_for_selector(f"#toast:has-text('{toast}')")

    def press(self, x, y):
        """The mouse goes down at a place of the photo (shares)."""
        box = self.page.locator("#photo").bounding_box()
        self.page.mouse.move(box["x"] + x * box["width"], box["y"] + y * box["height"])
        self.page.mouse.down()

    def mark(self, x, y):
        self.page.keyboard.press("m")
        self.press(x, y)
        self.page.mouse.up()
        self.saved()

    def rescan(self):
        make(self.folder, (1, 3))

    def decisions(self):
        return read_decisions(self.folder / "out").to_pylist()

    def count(self, selector):
        return len(self.page.query_selector_all(selector))


@pytest.fixture
def page(browser, tmp_path):
    """Two photos."""
    with reviewing(make(tmp_path, (1, 3))) as live:
        opened = Page(browser, live, tmp_path)
        yield opened
        assert not opened.wrong
        opened.page.close()


def test_undo_leaves_marks_that_follow_it_on_the_page(page):
    page.mark(0.5, 0.5)
    page.page.keyboard.press("u")
    page.saved("Taken back")
    page.mark(0.7, 0.7)
    page.turn("ArrowRight")
    page.turn("ArrowLeft")
    assert page.count(".region.crack") == 1


def test_stroke_that_escape_or_another_photo_ends_marks_nothing(page):
    page.page.keyboard.press("m")
    page.press(0.4, 0.4)
    page.page.mouse.move(700, 500)
    assert page.page.is_visible("#draft")
    page.page.keyboard.press("Escape")
    page.page.mouse.up()
    assert page.page.is_hidden("#draft") and page.count(".region") == 2
    page.page.keyboard.press("m")
    page.press(0.4, 0.4)
    page.page.mouse.move(700, 500)
    page.turn("ArrowRight")
    page.page.mouse.up()
    page.saved()
    assert page.count(".region") == 2 and not page.decisions()


@pytest.mark.parametrize(("key", "said"), [("c", "NOT SAVED"), ("u", "NOT TAKEN BACK")])
def test_decision_that_a_scan_makes_stale_is_said_to_be_lost(page, key, said):
    page.turn("s")
    page.saved()
    page.rescan()
    page.page.keyboard.press(key)
    page.page.wait_for_selector(f"#toast.bad:has-text('{said}')")
    page.saved()
    assert len(page.decisions()) == 1
    assert "the list was made anew" in page.page.text_content("#toast.bad")


def test_note_that_a_scan_makes_stale_waits_beside_its_photo(page):
    page.page.keyboard.press("t")
    page.page.keyboard.type("spalling beside it")
    page.rescan()
    page.page.keyboard.press("Enter")
    page.page.wait_for_selector("#toast.bad:has-text('NOT SAVED, the note waits')")
    page.saved()
    page.page.wait_for_function("document.querySelector('#note').value == 'spalling beside it'")
    page.turn("ArrowRight")
    page.saved()
    assert [said["note"] for said in page.decisions()] == ["spalling beside it"]
    assert page.page.input_value("#note") == ""


def test_filter_chosen_by_keys_keeps_the_focus(page):
    page.page.focus("select[name=verdict]")
    page.page.keyboard.press("ArrowDown")
    page.page.wait_for_selector("label.set select[name=verdict]")
    assert page.page.evaluate("document.activeElement.name") == "verdict"


def classes(page):
    return page.evaluate("[...document.querySelectorAll('.region')].map(mark => mark.className)")


RED_INSIDE = """() => {
    const image = document.querySelector('.whole'), canvas = document.createElement('canvas');
    const pen = canvas.getContext('2d');
    [canvas.width, canvas.height] = [image.naturalWidth, image.naturalHeight];
    pen.drawImage(image, 0, 0);
    const red = ({ style }, a, b) => {
        const sides = ['left', 'top', 'width', 'height'];
        const [x, y, w, h] = sides.map(side => parseFloat(style[side]) / 100);
        const at = [(x + a * w) * canvas.width, (y + b * h) * canvas.height];
        const [r, g] = pen.getImageData(...at, 1, 1).data;
        return r - g > 100;
    };
    const marks = [...document.querySelectorAll('.region')];
    const corners = [[.05, .05], [.95, .05], [.05, .95], [.95, .95]];
    const beyond = [[-.1, .5], [1.1, .5], [.5, -.1], [.5, 1.1]];
    return [...marks.map(mark => corners.every(([a, b]) => red(mark, a, b))),
            marks.some(mark => beyond.some(([a, b]) => red(mark, a, b)))];
}"""
