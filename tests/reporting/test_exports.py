"""The files that a person takes away: complete, in every program's terms, and no way in."""

from __future__ import annotations

import csv
import json
import os
import struct
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import unquote

import numpy as np
import openpyxl
import pyarrow.parquet as pq
import pytest
from PIL import Image

from inspector import ReportConfig, report
from inspector.core.layout import Layout
from inspector.errors import UsageError
from inspector.reporting import excel
from inspector.reporting.lists import FIELDS
from inspector.reporting.maps import ahead_of, footprint, view_line
from tests.reporting.conftest import label
from tests.reviewing.tables import row_of, write_table

REGION = {"x": 40, "y": 30, "width": 300, "height": 80, "p_crack": 0.9, "length_at_least": 120.0,
          "length_at_most": 310.0, "stage": "fp32@224"}  # fmt: skip
SEEN = {"view": "dense", "width": 4000, "height": 3000, "windows": 9000, "crack_windows": 3,
        "crack_fraction": 3 / 9000}  # fmt: skip
PLACE = {"gps_lat": 46.8426, "gps_lon": -91.994, "gps_alt": 64.2}


@pytest.fixture
def table(tmp_path):
    """A table of rows with something to say, and the folder of its photos, of which one exists."""
    photos = tmp_path / "bridge 7 #1"
    photos.mkdir()
    names: dict[str, tuple[str, dict[str, Any]]] = {
        "clear": ("00 wäll.jpg", {"verdict": "clear", "reason": "model", "p_crack": 0.01, **SEEN,
                                  "regions": []}),
        "crack": ("01.jpg", {
            "verdict": "crack", "reason": "model", "p_crack": 0.98, **SEEN, **PLACE,
            "regions": [REGION, REGION | {"x": 900, "length_at_most": 290.0}],
            "mm_per_px": 0.25, "mm_per_px_source": "laser", "smallest_visible_mm": 0.5,
            "taken_at": datetime(2026, 5, 1, 8, 10), "camera": "=cmd|' /C calc'!A0",
            "camera_yaw": 90.0, "camera_pitch": -10.0, "laser_distance": 8.0}),
        "nadir": ("02.jpg", {
            "verdict": "review", "reason": "scale", "p_crack": 0.02, **SEEN, **PLACE,
            "regions": [REGION], "mm_per_px": 10.0, "mm_per_px_source": "altitude",
            "smallest_visible_mm": 20.0, "camera_yaw": 0.0, "camera_pitch": -90.0,
            "relative_altitude": 40.0}),
        "formula": ("=2+5+cmd|'x'!A1.jpg", {"verdict": "crack", "reason": "model", "p_crack": 0.8,
                                            "view": "whole", "width": 90, "height": 70,
                                            "taken_at": datetime(1804, 1, 1)}),
        "minus": ("-1+1\n.jpg", {"verdict": "clear", "reason": "model", "p_crack": 0.1}),
        "failed": ("06.jpg", {"failure_code": "empty"}),
        "bytes": (os.fsdecode(b"caf\xe9.jpg"), {"verdict": "clear", "reason": "model"}),
    }  # fmt: skip
    rows = {}
    (photos / "01.jpg").write_bytes(b"photo")
    for key, (name, values) in names.items():
        path = photos / name
        rows[key] = row_of(path, **values)
        if key == "bytes":
            rows[key]["path"] = str(photos / "caf\\xe9.jpg")
    out = write_table(tmp_path / "out", list(rows.values())[:3], list(rows.values())[3:])
    label(out, {rows["crack"]["uri"]: "crack", rows["minus"]["uri"]: "crack"})
    return SimpleNamespace(out=out, photos=photos, rows=rows, folder=tmp_path)


def made(table, **files):
    return report(ReportConfig(out=table.out, **files))


def read_csv(file):
    with file.open(encoding="utf-8-sig", newline="") as stream:
        return list(csv.DictReader(stream))


def test_a_list_has_every_photo_the_pressing_ones_first(table):
    file = table.folder / "list.csv"
    made(table, csv=file)
    assert file.read_bytes().startswith(b"\xef\xbb\xbf")
    rows = read_csv(file)
    assert list(rows[0]) == [field.name for field in FIELDS]
    assert [row["after_review"] for row in rows] == [
        "crack", "crack", "crack", "review", "failed", "clear", "clear"
    ]  # fmt: skip
    crack = rows[0]
    assert crack["file"] == "01.jpg" and crack["folder"] == str(table.photos)
    assert (crack["human_verdict"], crack["p_crack"], crack["reason"]) == ("crack", "0.98", "model")
    assert (crack["regions"], crack["longest_region"]) == ("2", "40, 30, 300 x 80")
    assert (crack["px_at_least"], crack["px_at_most"]) == ("120.0", "310.0")
    assert (crack["mm_at_least"], crack["mm_at_most"]) == ("30.0", "77.5")
    assert crack["taken_at"] == "2026-05-01 08:10:00"
    assert (crack["gps_lat"], crack["gps_lon"]) == ("46.8426", "-91.994")
    assert rows[1]["regions"] == rows[1]["longest_region"] == "", "judged whole"
    assert rows[4]["reason"] == "empty"
    assert {"00 wäll.jpg", "caf\\xe9.jpg"} <= {row["file"] for row in rows}


def test_no_cell_of_a_list_is_a_formula(table):
    made(table, csv=table.folder / "list.csv", xlsx=table.folder / "list.xlsx")
    texts = [field.name for field in FIELDS if field.kind in ("text", "link")]
    for row in read_csv(table.folder / "list.csv"):
        assert not any(row[name].startswith(("=", "+", "-", "@")) for name in texts)
    named = {row["file"] for row in read_csv(table.folder / "list.csv")}
    assert {"'=2+5+cmd|'x'!A1.jpg", "'-1+1\\n.jpg"} <= named
    sheet = openpyxl.load_workbook(table.folder / "list.xlsx").active
    assert not any(cell.data_type == "f" for row in sheet for cell in row)
    assert "=2+5+cmd|'x'!A1.jpg" in {row[1].value for row in sheet}


def test_links_lead_to_the_photos_from_where_the_list_lies(table):
    file = table.folder / "hand over" / "list.csv"
    made(table, csv=file)
    for row in read_csv(file):
        path = os.fsencode(file.parent) + b"/" + os.fsencode(unquote(row["photo"], "latin-1"))
        assert "#" not in row["photo"] and "\n" not in row["photo"]
        assert not row["photo"].startswith(("/", "file:"))
        if row["file"] == "01.jpg":
            assert Path(os.fsdecode(path)).read_bytes() == b"photo"


def test_overlays_that_were_drawn_are_linked(table):
    drawn = Layout(table.out).heatmap(table.rows["crack"]["uri"])
    drawn.parent.mkdir()
    drawn.write_bytes(b"overlay")
    made(table, csv=table.folder / "list.csv", xlsx=table.folder / "list.xlsx")
    first, *others = read_csv(table.folder / "list.csv")
    assert (table.folder / unquote(first["overlay"])).read_bytes() == b"overlay"
    assert not any(row["overlay"] for row in others)
    sheet = openpyxl.load_workbook(table.folder / "list.xlsx").active
    assert sheet.cell(2, len(FIELDS)).hyperlink.target == first["overlay"]


def test_photos_that_moved_are_linked_where_they_are(table):
    there = table.folder / "archive"
    table.photos.rename(there)
    file = table.folder / "list.csv"
    maps = {name: table.folder / f"map.{name}" for name in ("geojson", "geoparquet")}
    coco = table.folder / "coco.json"
    moved = f"{table.photos}={there}"
    report(ReportConfig(out=table.out, csv=file, coco=coco, **maps, moved=moved))
    assert read_csv(file)[0]["photo"] == "./archive/01.jpg"
    now = there / "01.jpg"
    for feature in json.loads(maps["geojson"].read_text())["features"][::2]:
        properties = feature["properties"]
        assert (properties["uri"], properties["path"]) == (now.as_uri(), str(now))
    assert pq.read_table(maps["geoparquet"])["uri"][0].as_py() == now.as_uri()
    regions = json.loads(coco.read_text())
    named = regions["images"][1]
    assert named["coco_url"] == now.as_uri()
    assert Path(regions["info"]["root"]) / named["file_name"] == now


def test_excel_has_numbers_times_and_links(table):
    file = table.folder / "list.xlsx"
    made(table, xlsx=file)
    book = openpyxl.load_workbook(file)
    sheet = book.active
    heads = [cell.value for cell in sheet[1]]
    rows = [dict(zip(heads, row, strict=True)) for row in sheet.iter_rows(min_row=2)]
    assert len(rows) == 7 and sheet.freeze_panes == "C2"
    crack = rows[0]
    assert crack["p_crack"].value == pytest.approx(0.98)
    assert crack["taken_at"].value == datetime(2026, 5, 1, 8, 10)
    assert crack["gps_lon"].value == -91.994
    link = crack["photo"].hyperlink
    assert (link.target, crack["photo"].value) == ("./bridge%207%20%231/01.jpg", "01.jpg")
    old = next(row for row in rows if (row["file"].value or "").startswith("="))
    assert old["taken_at"].value == "1804-01-01 00:00:00", "before Excel's calendar"


def test_excel_has_pictures_of_cracks_in_their_rows(table):
    for name in ("wide.jpg", "open.jpg", "calm.jpg"):
        Image.new("RGB", (800, 600), (90, 120, 90)).save(table.photos / name)
    rows = [row_of(path, verdict=verdict, p_crack=p, **SEEN | {"width": 800, "height": 600},
                   reason="model", regions=[REGION] if verdict != "clear" else [])
            for path, verdict, p in ((table.photos / "wide.jpg", "crack", 0.9),
                                     (table.photos / "open.jpg", "review", 0.5),
                                     (table.photos / "calm.jpg", "clear", 0.1))]  # fmt: skip
    rows.append(row_of(table.photos / "gone.jpg", verdict="crack", reason="model", p_crack=0.8))
    out, file = write_table(table.folder / "other", rows), table.folder / "list.xlsx"

    def pictures(**options):
        said = report(ReportConfig(out=out, xlsx=file, **options)).said["--xlsx"]
        sheet = openpyxl.load_workbook(file).active
        names = {cell.row: cell.value for cell in sheet["B"]}
        return said, {names[image.anchor._from.row + 1]: image for image in sheet._images}

    said, found = pictures()
    gone = "1 of 3 photos could not be shown; where they lie elsewhere now: --moved OLD=NEW"
    assert said == f"4 photos, 2 with pictures; {gone}"
    assert set(found) == {"wide.jpg", "open.jpg"}
    picture = found["wide.jpg"]
    assert (picture.width, picture.height) == (240, 180)
    assert picture.anchor._from.col == 2
    assert picture.anchor.editAs in (None, "twoCell"), "it moves and hides with its cell"
    seen = Image.open(picture.ref).convert("L")
    assert np.asarray(seen.crop((10, 7, 104, 35))).min() < 40, "the region's box is drawn"
    assert set(pictures(pictures=1)[1]) == {"wide.jpg"}
    assert pictures(pictures=0) == ("4 photos", {})


def test_a_sheet_that_is_full_says_so(table, monkeypatch):
    file = table.folder / "list.xlsx"
    monkeypatch.setattr(excel, "MOST_LINKS", 2)
    monkeypatch.setattr(excel, "MOST_ROWS", 5)
    said = made(table, xlsx=file).said["--xlsx"]
    assert "4 photos, cracks first; 3 more do not fit into a sheet" in said
    assert "2 without links" in said
    sheet = openpyxl.load_workbook(file).active
    assert sheet.max_row == 5
    assert sum(cell.hyperlink is not None for row in sheet for cell in row) == 2


def test_geojson_shows_where_cameras_looked(table):
    file = table.folder / "map.geojson"
    summary = made(table, geojson=file)
    assert summary.said["--geojson"] == "2 photos, 5 have no place"
    assert summary.to_json()["gps"] == {"photos": 2, "without": 5}
    features = json.loads(file.read_text())["features"]
    by_kind: dict[str, list] = {}
    for feature in features:
        by_kind.setdefault(feature["properties"]["kind"], []).append(feature)
    assert {kind: len(found) for kind, found in by_kind.items()} == {
        "photo": 2, "view": 1, "footprint": 1
    }  # fmt: skip
    (view,), (ground,) = by_kind["view"], by_kind["footprint"]
    (lon, lat), (east, north) = view["geometry"]["coordinates"]
    assert east > lon and north == pytest.approx(lat, abs=1e-7), "it looks east"
    assert (east - lon) * 111_195 * 0.684 == pytest.approx(8 * 0.985, rel=0.01)
    (ring,) = ground["geometry"]["coordinates"]
    assert ring[0] == ring[-1] and len(ring) == 5
    wide, high = (max(c) - min(c) for c in zip(*ring, strict=True))
    assert high * 111_195 == pytest.approx(30, rel=1e-4)
    assert wide * 111_195 * 0.684 == pytest.approx(40, rel=0.01)
    area = sum(a[0] * b[1] - b[0] * a[1] for a, b in pairwise(ring))
    assert area > 0, "counter-clockwise (RFC 7946, 3.1.6)"


def test_a_tilted_camera_sees_what_lies_ahead():
    assert ahead_of(-90.0, 40.0, None) == ahead_of(-80.0, None, None) == 0
    assert ahead_of(-80.0, 40.0, None) == pytest.approx(7.05, abs=0.01)
    assert ahead_of(-100.0, 40.0, None) == pytest.approx(-7.05, abs=0.01)
    assert ahead_of(-80.0, -3.0, None) == 0
    assert ahead_of(-80.0, 40.0, 40.6) == pytest.approx(7.05, abs=0.01)
    ring = footprint((13.0, 52.0), 90.0, (40.0, 30.0), 10.0)
    assert sum(lon for lon, _ in ring[:-1]) / 4 > 13.0
    assert sum(lat for _, lat in ring[:-1]) / 4 == pytest.approx(52.0)
    assert view_line((0.0, 0.0), 180.0, 0.0, None)[1][1] == pytest.approx(-10 / 111_195, rel=1e-3)


GOLDEN_GEO = {
    "version": "1.1.0",
    "primary_column": "geometry",
    "columns": {
        "geometry": {
            "encoding": "WKB",
            "geometry_types": ["Point"],
            "bbox": [-91.994, 46.8426, -91.994, 46.8426],
        }
    },
}
"""Read by GeoPandas 1.2.0 and by GDAL as pyogrio 0.13.0 has it, with every point in its place."""


def test_geoparquet_is_as_programs_were_seen_to_read_it(table):
    file = table.folder / "map.parquet"
    assert made(table, geoparquet=file).said["--geoparquet"] == "2 photos, 5 have no place"
    found = pq.read_table(file)
    assert json.loads(found.schema.metadata[b"geo"]) == GOLDEN_GEO
    (crack, nadir) = found.to_pylist()
    assert crack["geometry"].hex() == "0101000000" + struct.pack("<2d", -91.994, 46.8426).hex()
    assert (crack["uri"], crack["human_verdict"]) == (table.rows["crack"]["uri"], "crack")
    assert (crack["taken_at"], crack["regions"]) == (datetime(2026, 5, 1, 8, 10), 2)
    assert (nadir["reason"], nadir["camera_pitch"]) == ("scale", -90.0)


def test_geoparquet_in_the_programs_that_read_it(table):
    geopandas = pytest.importorskip("geopandas")
    pyogrio = pytest.importorskip("pyogrio")
    file = table.folder / "map.parquet"
    made(table, geoparquet=file)
    frame = geopandas.read_parquet(file)
    assert [(p.x, p.y) for p in frame.geometry] == [(-91.994, 46.8426)] * 2
    assert frame.crs.to_string() == "OGC:CRS84"
    if "Parquet" in pyogrio.list_drivers():
        assert pyogrio.read_info(file)["features"] == 2
    made(table, geojson=table.folder / "map.geojson")
    shapes = geopandas.read_file(table.folder / "map.geojson")
    assert shapes.geometry.is_valid.all() and len(shapes) == 4


def test_coco_has_what_was_looked_at(table):
    file = table.folder / "coco.json"
    said = made(table, coco=file).said["--coco"]
    assert said == "3 regions in 3 photos; 4 not judged at their own scale"
    found = json.loads(file.read_text())
    assert found["info"]["root"] == str(table.photos)
    assert [image["file_name"] for image in found["images"]] == ["00 wäll.jpg", "01.jpg", "02.jpg"]
    assert (found["images"][1]["width"], found["images"][1]["human_verdict"]) == (4000, "crack")
    first = found["annotations"][0]
    assert (first["bbox"], first["area"], first["category_id"]) == ([40, 30, 300, 80], 24_000, 1)
    assert first["score"] == pytest.approx(0.9)
    assert {a["image_id"] for a in found["annotations"]} <= {i["id"] for i in found["images"]}
    label(table.out, {table.rows["crack"]["uri"]: "clear"})
    made(table, coco=file)
    assert len(json.loads(file.read_text())["annotations"]) == 1, "a person called them no cracks"


def test_coco_in_the_program_that_defines_it(table, capsys):
    coco = pytest.importorskip("pycocotools.coco")
    file = table.folder / "coco.json"
    made(table, coco=file)
    opened = coco.COCO(str(file))
    assert sorted(opened.getCatIds()) == [1] and len(opened.getAnnIds(imgIds=[2])) == 2


def test_a_table_without_photos_regions_or_places(tmp_path):
    out = write_table(tmp_path / "out", [])
    files = {name: tmp_path / f"a.{name}" for name in ("csv", "xlsx", "geojson", "geoparquet")}
    summary = report(ReportConfig(out=out, coco=tmp_path / "a.coco", **files))
    assert len(summary.said) == 5
    assert read_csv(tmp_path / "a.csv") == []
    assert openpyxl.load_workbook(tmp_path / "a.xlsx").active.max_row == 1
    assert json.loads((tmp_path / "a.geojson").read_text())["features"] == []
    assert pq.read_table(tmp_path / "a.geoparquet").num_rows == 0
    geo = json.loads(pq.read_schema(tmp_path / "a.geoparquet").metadata[b"geo"])
    assert "bbox" not in geo["columns"]["geometry"]
    assert json.loads((tmp_path / "a.coco").read_text())["annotations"] == []


def test_a_real_scan_in_every_file(site, tmp_path):
    files = {name: tmp_path / f"a.{name}" for name in ("csv", "xlsx", "geojson", "geoparquet")}
    summary = report(ReportConfig(out=site.out, coco=tmp_path / "a.coco", **files))
    assert len(read_csv(tmp_path / "a.csv")) == 18
    assert openpyxl.load_workbook(tmp_path / "a.xlsx").active.max_row == 19
    assert summary.said["--geojson"] == "11 photos, 7 have no place"
    assert pq.read_table(tmp_path / "a.geoparquet").num_rows == 11
    images = json.loads((tmp_path / "a.coco").read_text())["images"]
    assert {image["width"] for image in images} == {2000}, "only large photos have regions"


def test_two_files_of_one_name_are_refused(table):
    with pytest.raises(UsageError, match="--csv and --xlsx are both"):
        ReportConfig(out=table.out, csv=table.folder / "x", xlsx=table.folder / "x")
    for option in ("csv", "xlsx", "geojson", "geoparquet", "coco"):
        with pytest.raises(UsageError, match=f"--{option}"):
            ReportConfig(out=table.out, **{option: table.out / "x.parquet"})
