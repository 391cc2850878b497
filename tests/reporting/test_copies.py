"""Pictures of cracks in folders of their own: named apart, right whichever way a photo lies."""

from __future__ import annotations

import csv
import json
import os
import re
import zipfile
from pathlib import PureWindowsPath

import numpy as np
import pyarrow.dataset as ds
import pytest
from PIL import Image

from inspector.core.text import display_path
from inspector.errors import UsageError
from inspector.reporting.copies import ANNOTATE, COPY, CROPS, place_of
from inspector.reporting.report import ReportConfig, report
from inspector.results.labels import Decision, Label, RegionLabel, open_labels
from inspector.scanning import ScanConfig, scan
from tests.photos.turned import TURNS, save_turned
from tests.reporting.conftest import label, save_photo
from tests.reporting.test_regions import HEIGHT, RED, WIDTH, dense_row, region_of
from tests.reviewing.tables import row_of, write_table


@pytest.fixture
def site(tmp_path):
    """The same photo, stored in eight ways, each under the same name; one is gone since."""
    photo = Image.new("RGB", (WIDTH, HEIGHT), (120, 120, 120))
    left, top = RED["x"], RED["y"]
    photo.paste((200, 20, 20), (left, top, left + RED["width"], top + RED["height"]))
    rows = []
    for turn in TURNS:
        folder = tmp_path / "photos" / f"span {turn}"
        folder.mkdir(parents=True)
        rows.append(dense_row(save_turned(photo, folder / "a.jpg", turn), region_of()))
    rows.append(dense_row(tmp_path / "photos" / "gone.jpg", region_of()))
    clear = dense_row(save_turned(photo, tmp_path / "photos" / "b.jpg", 1), verdict="clear")
    return write_table(tmp_path / "out", [*rows, clear])


def test_every_crack_is_marked_cut_out_and_copied_once(site, tmp_path):
    folders = {"annotate": tmp_path / "1", "crops": tmp_path / "2", "copy_cracks": tmp_path / "3"}
    counted = report(ReportConfig(out=site, **folders))
    assert "1 photo could not be read" in counted.said["--annotate"]
    assert "gone.jpg: vanished" in counted.said["--crops"]
    names = {
        name: sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*.jpg"))
        for name, folder in folders.items()
    }
    assert names["copy_cracks"] == [f"span {turn}/a.jpg" for turn in TURNS]
    assert names["annotate"] == [f"span {turn}/a.jpg-regions.jpg" for turn in TURNS]
    assert names["crops"] == [f"span {turn}/a.jpg-region-1.jpg" for turn in TURNS]
    marked = [np.asarray(Image.open(folders["annotate"] / n), int) for n in names["annotate"]]
    for picture in marked[1:]:
        assert np.abs(picture - marked[0]).mean() < 1
    x, y = RED["x"] + RED["width"] // 2, RED["y"] + RED["height"] // 2
    assert marked[0].shape == (HEIGHT, WIDTH, 3)
    assert (np.abs(marked[0][y, x] - (200, 20, 20)) < 10).all()
    for name in names["crops"]:
        cut = np.asarray(Image.open(folders["crops"] / name), int)
        assert cut.shape == (RED["height"] + 64, RED["width"] + 64, 3)
        assert (np.abs(cut[40:-40, 40:-40] - (200, 20, 20)) < 12).all()
    source = tmp_path / "photos" / "span 6" / "a.jpg"
    assert (folders["copy_cracks"] / "span 6/a.jpg").read_bytes() == source.read_bytes()


def crack_of(folder, name):
    """A row of a small photo there."""
    file = folder / name
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (64, 64), (name.encode()[-5],) * 3).save(file)
    row = row_of(file, verdict="crack", width=64, height=64)
    return row | {"path": display_path(str(file))}


def copied(out, folder):
    report(ReportConfig(out=out, copy_cracks=folder))
    return sorted(file.relative_to(folder).as_posix() for file in folder.rglob("*.jpg"))


NAMES = ["north/1.jpg", "north/2.jpg", "south/3.jpg"]


def test_copies_of_photos_in_an_archive_keep_its_folders(tiny_bundle, tmp_path):
    with zipfile.ZipFile(tmp_path / "photos.zip", "w") as archive:
        for k, name in enumerate(NAMES):
            save_photo(tmp_path / "one.jpg", k)
            archive.write(tmp_path / "one.jpg", name)
    out = cracks_of(tmp_path / "photos.zip", tiny_bundle)
    assert copied(out, tmp_path / "copies") == NAMES


def cracks_of(archive, bundle):
    """Scan an archive into a table of cracks."""
    out = archive.with_name("out")
    scan(ScanConfig(sources=(str(archive),), out=out, model=bundle.path, workers=0))
    label(out, {row["uri"]: "crack" for row in ds.dataset(str(out)).to_table().to_pylist()})
    return out


@pytest.mark.parametrize(
    ("names", "kept"),
    [
        (["x.jpg", "x.jpg/y.jpg"], "x.jpg"),
        (["x.jpg/y.jpg", "x.jpg"], "x.jpg/y.jpg"),
        (["a.jpg", "/".join(["n" * 200] * 30 + ["b.jpg"])], "a.jpg"),
    ],
)
def test_a_photo_that_cannot_keep_its_place_is_called_after_its_hash(
    names, kept, tiny_bundle, tmp_path
):
    with zipfile.ZipFile(tmp_path / "photos.zip", "w") as archive:
        for k, name in enumerate(names):
            save_photo(tmp_path / "one.jpg", k)
            archive.write(tmp_path / "one.jpg", name)
    out = cracks_of(tmp_path / "photos.zip", tiny_bundle)
    folders = {"annotate": tmp_path / "1", "crops": tmp_path / "2", "copy_cracks": tmp_path / "3"}
    counted = report(ReportConfig(out=out, html=tmp_path / "page.html", **folders))
    assert [counted.said[option] for option in (COPY, ANNOTATE)] == ["2 pictures"] * 2
    assert CROPS in counted.said and (tmp_path / "page.html").exists()
    found = [file.relative_to(tmp_path / "3").as_posix() for file in (tmp_path / "3").rglob("*.*g")]
    (flat,) = {name for name in found if (tmp_path / "3" / name).is_file()} - {kept}
    assert re.fullmatch(r"[0-9a-f]{32}\.jpg", flat)
    assert (tmp_path / "3" / kept).is_file()


def test_copies_of_photos_below_a_name_that_is_not_utf_8_keep_its_folders(tmp_path):
    folder = tmp_path / os.fsdecode(b"w\xe4lle #1")
    out = write_table(tmp_path / "out", [crack_of(folder, name) for name in NAMES])
    assert copied(out, tmp_path / "copies") == NAMES


def test_a_region_that_a_person_rejected_is_nowhere(site, tmp_path):
    """Only where they saw the same bytes, and only that one."""
    photo = tmp_path / "photos" / "b.jpg"
    rows = [dense_row(photo, region_of(), region_of(0.6, x=10)) for _ in "ab"]
    rows[1] |= {"uri": rows[1]["uri"] + "#page=2"}
    out = write_table(tmp_path / "seen", rows)
    with open_labels(out, "ann") as store:
        for row, seen in zip(rows, (rows[0]["content_hash"], "1" * 64), strict=True):
            store.add(Decision(
                uri=row["uri"], label=Label.CRACK, content_hash=seen, size_bytes=1, mtime=None,
                verdict="crack", p_crack=0.9, model=None,
                regions=(RegionLabel(10, 100, 200, 300, Label.CLEAR),
                         RegionLabel(1000, 100, 200, 300, Label.CRACK)),
            ))  # fmt: skip
    counted = report(ReportConfig(out=out, csv=tmp_path / "a.csv", coco=tmp_path / "a.json"))
    assert [[r["x"] for r in row["regions"]] for row in counted.cracks] == [[1000], [1000, 10]]
    with (tmp_path / "a.csv").open(encoding="utf-8-sig") as stream:
        assert [row["regions"] for row in csv.DictReader(stream)] == ["1", "2"]
    boxes = json.loads((tmp_path / "a.json").read_text())["annotations"]
    assert [box["bbox"][0] for box in boxes] == [1000, 1000, 10]


def test_a_folder_with_files_or_inside_the_results_is_refused(site, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "a.jpg").touch()
    for folder in (tmp_path / "mine", site / "_marked", site, tmp_path / "mine" / "a.jpg"):
        with pytest.raises(UsageError, match=r"name (a new|another) folder"):
            ReportConfig(out=site, annotate=folder)
    with pytest.raises(UsageError, match="name two folders"):
        ReportConfig(out=site, annotate=tmp_path / "x", crops=tmp_path / "x")


@pytest.mark.parametrize(("uri", "place"), [
    ("file:///p/a/b%20c.jpg", "a/b c.jpg"),
    ("file:///p/../../etc/x.jpg", "etc/x.jpg"),
    ("file:///p/%2e%2e/x%2Fy%00.jpg", "x_y_.jpg"),
    ("file:///p/", "photo"),
    ("file:///q/x.jpg", "file:/q/x.jpg"),
    ("file:///p/s.tif#page=2", "s.tif-page=2"),
])  # fmt: skip
def test_no_name_leads_out_of_the_folder(uri, place):
    assert place_of(uri, "file:///p/") == place


@pytest.mark.parametrize(
    ("uri", "place"),
    [
        ("file:///p/..%5C..%5CStartup%5Cx.jpg", ".._.._Startup_x.jpg"),
        ("file:///p/C:/a%3A%5Cx.jpg.", "C_/a__x.jpg"),
        ("file:///p/.. /.%20./%5C%5Cnas%5Cx.jpg%20", "__nas_x.jpg"),
        ("file:///p/a%1F%3F%2A.jpg", "a___.jpg"),
        ("file:///p/..%FF", ".._xff"),
        ("file:///p/aux/Nul.jpg", "_aux/_Nul.jpg"),
        ("file:///p/com10/null.jpg", "com10/null.jpg"),
    ],
)
def test_no_name_leads_out_of_the_folder_on_windows(uri, place):
    assert place_of(uri, "file:///p/", windows=True) == place
    folder = PureWindowsPath("D:\\copies")
    joined = folder / place
    assert joined.is_relative_to(folder) and ".." not in joined.parts
