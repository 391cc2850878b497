"""What people say of places and write in notes: in everything that is handed on."""

from __future__ import annotations

import csv
import json
import re
from types import SimpleNamespace

import numpy as np
import openpyxl
import pytest
from PIL import Image

from inspector.reporting.report import ReportConfig, report
from inspector.reporting.shots import places_of
from inspector.reporting.wording import region, regions
from inspector.results.labels import Decision, Label, RegionLabel, open_labels
from tests.reporting.test_regions import HEIGHT, RED, WIDTH, dense_row, region_of
from tests.reviewing.tables import row_of, write_table

MARK = {"x": 300, "y": 500, "width": 400, "height": 60}
POINT = {"x": 20, "y": 450, "width": 0, "height": 0}
NOTE = "spall <b>here</b>"
WORDS = "1 region, 100 to 200 px long; 1 place marked by a person"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A photo with a region that was rejected, where the evidence peaks, one that was confirmed and
    a mark; one that was judged whole, called clear, with a mark and a point; one that is called
    clear by the model alone, with a mark; and a shoe. All files of a report of them."""
    root = tmp_path_factory.mktemp("marks")
    folder = root / "photos"
    folder.mkdir()
    for name in ("dense.png", "whole.png", "clear.png"):
        Image.new("RGB", (WIDTH, HEIGHT), (120, 120, 120)).save(folder / name)
    sides = {"width": WIDTH, "height": HEIGHT}
    other = {"x": 10, "y": 20, "width": 200, "height": 300}
    place = {"gps_lat": 47.865610000000004, "gps_lon": 12.1, "gps_alt": 400.1000000001}
    rows = [
        dense_row(folder / "dense.png", region_of(), region_of(0.6, **other), **place),
        row_of(folder / "whole.png", verdict="clear", reason="model", p_crack=0.1, **sides,
               view="whole", peak_x=None, peak_y=None),
        dense_row(folder / "clear.png", region_of(0.1), verdict="clear", p_crack=0.1),
        row_of(folder / "shoe.png", reason="out_of_distribution", view="whole", **sides),
    ]  # fmt: skip
    said = {
        "dense.png": (Label.CRACK, [(RED, Label.CLEAR), (other, Label.CRACK), (MARK, Label.CRACK)]),
        "whole.png": (Label.CRACK, [(MARK, Label.CRACK), (POINT, Label.CRACK)]),
        "clear.png": (None, [(MARK, Label.CRACK)]),
        "shoe.png": (Label.NOT_CONCRETE, [(MARK, Label.CLEAR)]),
    }
    out = write_table(root / "out", rows)
    with open_labels(out, "ann") as store:
        for row, (label, places) in zip(rows, said.values(), strict=True):
            about = {name: row[name] for name in ("content_hash", "size_bytes", "mtime")}
            marked = tuple(RegionLabel(**box, label=word) for box, word in places)
            store.add(Decision(uri=row["uri"], label=label, verdict=row["verdict"], p_crack=0.5,
                               model=None, regions=marked, note=NOTE, **about))  # fmt: skip
    files = {name: root / f"all.{name}" for name in ("csv", "xlsx", "coco", "geojson", "html")}
    folders = {name: root / name for name in ("crops", "annotate")}
    counted = report(ReportConfig(out=out, **files, **folders))
    shown = {row["path"].rpartition("/")[2]: row for row in counted.cracks}
    return SimpleNamespace(**files, **folders, rows=shown)


def box_of(found):
    return [found[side] for side in ("x", "y", "width", "height")]


def test_marks_are_regions_before_those_that_stand(made):
    first, second = made.rows["dense.png"]["regions"]
    assert (box_of(first), first["p_crack"]) == (list(MARK.values()), None)
    assert (second["x"], second["p_crack"]) == (10, pytest.approx(0.6))
    assert regions(made.rows["dense.png"]) == WORDS
    said = "region 1 of 2: marked by a person, 400 x 60 px"
    assert region(made.rows["dense.png"], 0) == said
    mark, point = made.rows["whole.png"]["regions"]
    assert box_of(mark) == list(MARK.values())
    assert box_of(point) == [0, 393, 78, 115], "a click is a square, within the photo"
    assert regions(made.rows["whole.png"]) == "2 places marked by a person"


def test_where_the_evidence_peaks_is_not_shown_if_a_person_saw_no_crack_there(made):
    row = made.rows["dense.png"]
    assert row["peak_x"] is row["peak_y"] is None
    left, top, *_ = places_of(row)[0]
    assert (left * WIDTH, top * HEIGHT) == pytest.approx((260, 494)), "the mark, and what is around"
    card = next(c for c in made.html.read_text().split("<figure") if "dense.png" in c)
    assert 'class="ring"' not in card and "data-peak" not in card
    assert re.findall('data-text="([^"]*)"', card) == ["mark", "0.60"]


def test_lists_count_marks(made):
    with made.csv.open(encoding="utf-8-sig") as stream:
        rows = {row["file"]: row for row in csv.DictReader(stream)}
    dense, whole = rows["dense.png"], rows["whole.png"]
    assert (dense["regions"], dense["longest_region"]) == ("2", "10, 20, 200 x 300")
    assert (dense["px_at_least"], dense["px_at_most"]) == ("100.0", "200.0")
    assert (whole["regions"], whole["longest_region"]) == ("2", "300, 500, 400 x 60")
    assert whole["px_at_least"] == whole["mm_at_most"] == ""
    assert rows["clear.png"]["regions"] == "2"
    assert {row["note"] for row in rows.values()} == {NOTE}
    assert (dense["gps_lat"], dense["gps_alt"]) == ("47.86561", "400.1"), "no digits of noise"
    sheet = openpyxl.load_workbook(made.xlsx).active
    heads = [cell.value for cell in sheet[1]]
    assert [row[heads.index("regions")].value for row in list(sheet)[1:]] == [2, 2, 2, None]


def test_coco_has_marks_without_a_score(made):
    found = json.loads(made.coco.read_text())
    names = {image["id"]: image["file_name"] for image in found["images"]}
    boxes = [(names[a["image_id"]], a["bbox"][0], a.get("score")) for a in found["annotations"]]
    assert boxes == [
        ("dense.png", 300, None), ("dense.png", 10, 0.6), ("whole.png", 300, None),
        ("whole.png", 0, None), ("clear.png", 300, None),
    ]  # fmt: skip
    assert found["images"][0]["note"] == NOTE
    assert "shoe.png" not in names.values(), "nobody has said what it shows where"


def test_marks_are_cut_out_and_drawn(made):
    names = sorted(path.name for path in made.crops.iterdir())
    assert names == [f"{photo}.png-region-{k}.jpg" for photo in ("dense", "whole") for k in (1, 2)]
    with Image.open(made.crops / "whole.png-region-1.jpg") as cut:
        assert cut.size == (MARK["width"] + 64, MARK["height"] + 64)
    with Image.open(made.annotate / "whole.png-regions.jpg") as drawn:
        edge = np.asarray(drawn.convert("L").crop((290, 520, 310, 540)), int)
    assert edge.min() < 60 and edge.max() > 200, "white within black"


def test_notes_stand_on_the_page_and_the_map(made):
    html = made.html.read_text()
    assert "note: spall &lt;b&gt;here&lt;/b&gt;" in html and "<b>here</b>" not in html
    (data,) = re.findall(r'"notes":(\{"0":.*?\})', html)
    assert set(json.loads(data).values()) == {NOTE}
    (point, *_) = json.loads(made.geojson.read_text())["features"]
    assert point["properties"]["note"] == NOTE and point["properties"]["regions"] == 2
    assert point["geometry"]["coordinates"] == [12.1, 47.86561, 400.1]


def test_what_is_no_concrete_has_its_column(made):
    html = made.html.read_text()
    (row,) = re.findall(r'<tr class="all">(.*?)</tr>', html, re.DOTALL)
    assert re.findall("<td>(.*?)</td>", row) == ["4", "", "2", "0", "1", "0", "4"]
    assert "People looked at 3 of 4 photos" in html and "and decided 1 that it had left" in html
