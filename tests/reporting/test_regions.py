"""Regions on the report's photos: in their places however a photo is stored, and in words."""

from __future__ import annotations

import re

import pytest
from PIL import Image

from inspector.reporting.report import ReportConfig, report
from inspector.reporting.shots import SMALL, look, places_of
from inspector.reporting.wording import region, regions
from tests.pages import open_on_a_phone
from tests.photos.turned import TURNS, save_turned
from tests.reviewing.tables import row_of, write_table

RED = {"x": 1000, "y": 100, "width": 200, "height": 300}
WIDTH, HEIGHT = 1600, 900


def region_of(p_crack=0.9, least=100.0, most=200.0, **box):
    ends = {"length_at_least": least, "length_at_most": most}
    return {**RED, **box, **ends, "p_crack": p_crack, "stage": "fp32@224"}


def dense_row(file, *found, **values):
    judged = {"view": "dense", "windows": 100, "verdict": "crack", "reason": "model"}
    about = {"regions": list(found), "width": WIDTH, "height": HEIGHT, "peak_x": 1100 / WIDTH}
    return row_of(file, **judged | about | {"peak_y": 250 / HEIGHT} | values)


@pytest.fixture(scope="module")
def turned(tmp_path_factory):
    """A grey photo with a red place, stored in each of the eight ways."""
    folder = tmp_path_factory.mktemp("turned")
    photo = Image.new("RGB", (WIDTH, HEIGHT), (120, 120, 120))
    left, top = RED["x"], RED["y"]
    photo.paste((200, 20, 20), (left, top, left + RED["width"], top + RED["height"]))
    return [save_turned(photo, folder / f"{turn}.jpg", turn) for turn in TURNS]


def test_boxes_lie_on_what_they_mark_in_all_orientations(browser, turned, tmp_path):
    out = write_table(tmp_path / "out", [dense_row(file, region_of()) for file in turned])
    report(ReportConfig(out=out, html=tmp_path / "page.html"))
    page = open_on_a_phone(browser, (tmp_path / "page.html").as_uri())
    marked = page.evaluate("""[...document.querySelectorAll('.frame .photo')].map(frame => {
        const image = frame.querySelector('img'), mark = frame.querySelector('.region').style;
        const canvas = document.createElement('canvas'), pen = canvas.getContext('2d');
        [canvas.width, canvas.height] = [image.naturalWidth, image.naturalHeight];
        pen.drawImage(image, 0, 0);
        const [x, y, w, h] = ['left', 'top', 'width', 'height'].map(k => parseFloat(mark[k]) / 100);
        const red = (a, b) => {
            const at = [(x + a * w) * canvas.width, (y + b * h) * canvas.height];
            const [r, g] = pen.getImageData(...at, 1, 1).data;
            return r - g > 100;
        };
        const inside = [[.1, .1], [.9, .1], [.1, .9], [.9, .9]].every(([a, b]) => red(a, b));
        const outside = [[-.2, .5], [1.2, .5], [.5, -.2], [.5, 1.2]].some(([a, b]) => red(a, b));
        return [inside, outside];
    })""")
    assert marked == [[True, False]] * 8
    page.close()


def test_a_close_up_has_the_photos_own_pixels(turned):
    row = dense_row(turned[6], region_of(), region_of(0.4, x=0, y=0, width=1500, height=800))
    shot = look(str(turned[6]), row["content_hash"], places_of(row), 1024)
    assert (shot.width, shot.height) == (WIDTH, HEIGHT)
    boxes = [box for box, _ in shot.parts]
    assert len(boxes) == 2, "of the large region, the whole photo shows as much"
    left, top, across, down = boxes[0]
    assert across * WIDTH == pytest.approx(384) and down * HEIGHT == pytest.approx(384)
    assert left < 1000 / WIDTH and top < 100 / HEIGHT
    assert SMALL >= 384


def test_small_photos_and_those_without_sides_have_no_parts(turned):
    assert places_of(dense_row(turned[0], region_of(), width=None, height=None)) == []
    assert places_of(dense_row(turned[0], width=700, height=500)) == []


def test_regions_in_words():
    row = {"regions": [region_of(0.97, 820, 1100), region_of(0.4, 64, 64)]}
    assert regions(row) == "2 regions, the longest 820 to 1,100 px long"
    assert region(row, 1) == "region 2 of 2: p 0.400, 64 px long"
    wide = region_of(0.4, 10, 2000)
    assert regions({"regions": [region_of(0.9, 820, 1100), wide]}) == (
        "2 regions, the longest 10 to 2,000 px long"
    ), "as in the lists, and in the order of the page"
    assert regions({"regions": []}) == "no region"
    assert regions({"regions": None}) == ""
    one = {"regions": [region_of(0.97, 820, 1100)], "mm_per_px": 0.5}
    assert regions(one) == "1 region, 820 to 1,100 px long (410 to 550 mm)"


def test_a_page_does_not_grow_with_the_number_of_regions(turned, tmp_path):
    many = [region_of(0.9 - k / 1000, x=k) for k in range(300)]
    out = write_table(tmp_path / "out", [dense_row(turned[0], *many)])
    report(ReportConfig(out=out, html=tmp_path / "page.html"))
    html = (tmp_path / "page.html").read_text()
    assert html.count('class="region"') == 50
    assert "300 regions" in html and html.count('"regions":[[') == 1
    (numbers,) = re.findall(r'"regions":\[\[([^]]*)', html)
    assert len(numbers.split(",")) == 50 * 7


def test_only_files_are_linked(tmp_path):
    row = row_of(tmp_path / "a.jpg", verdict="crack", uri="javascript:alert(1)//x/a.jpg")
    out = write_table(tmp_path / "out", [row, row_of(tmp_path / "b.jpg", verdict="crack")])
    report(ReportConfig(out=out, html=tmp_path / "page.html"))
    html = (tmp_path / "page.html").read_text()
    assert 'href="javascript' not in html and 'href="./b.jpg"' in html
    assert '"links":["","."]' in html or '"links":[".",""]' in html
