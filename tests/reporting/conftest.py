"""A real scan of a small site, with what people said about it and what happened since."""

from __future__ import annotations

import os
from types import SimpleNamespace

import pyarrow.dataset as ds
import pytest
from PIL import Image

from inspector.results.labels import Decision, Label, open_labels
from inspector.scanning import ScanConfig, scan
from tests.scanning.walls import wall

HOSTILE = "<img src=x onerror=alert(1)>\x1b[31m.jpg"


def save_photo(path, seed, *, hour=None, place=None, size=(90, 70)):
    exif = Image.Exif()
    if hour is not None:
        exif.get_ifd(0x8769)[0x9003] = f"2026:05:01 {hour:02}:10:00"
    if place is not None:
        north, east = place
        for tag, letter, value in ((1, "N", north), (3, "E", east)):
            exif.get_ifd(0x8825)[tag] = letter
            exif.get_ifd(0x8825)[tag + 1] = (float(int(value)), value % 1 * 60, 0.0)
    wall(seed, *size).save(path, exif=exif, quality=92)


def label(out, said):
    """`said`: what a person says by uri."""
    rows = {row["uri"]: row for row in ds.dataset(str(out)).to_table().to_pylist()}
    with open_labels(out, "anna") as store:
        for uri, word in said.items():
            row = rows[uri]
            about = {name: row[name] for name in ("content_hash", "size_bytes", "mtime")}
            store.add(Decision(uri=uri, label=Label(word), verdict=row["verdict"],
                               p_crack=row["p_crack"], model=None, **about))  # fmt: skip


def make_photos(folder):
    for k in range(10):
        below = folder / f"span-{k // 5 + 1}" / ("north" if k % 2 else "south")
        below.mkdir(parents=True, exist_ok=True)
        save_photo(below / f"IMG_{k}.jpg", k, hour=8 + k // 5, place=(47 + k / 1e4, 14.5))
    # Somewhere else, with no fix, large, copied, or no photo at all.
    save_photo(folder / "span-1" / "far.jpg", 20, place=(51.0, 13.7))
    save_photo(folder / "span-1" / "no-fix.jpg", 21, place=(0.0, 0.0))
    save_photo(folder / "span-2" / "large.jpg", 22, size=(2000, 1200))
    (folder / "span-2" / "copy.jpg").write_bytes((folder / "span-2" / "large.jpg").read_bytes())
    save_photo(folder / "span-2" / HOSTILE, 23)
    save_photo(os.fsdecode(os.fsencode(folder) + b"/span-2/caf\xe9.jpg"), 24)
    (folder / "span-2" / "empty.jpg").write_bytes(b"")
    (folder / "span-2" / "<b>text.jpg").write_bytes(b"no photo")


@pytest.fixture(scope="module")
def site(tmp_path_factory, tiny_bundle):
    """`out`, `photos`, and the table's `rows` by file name; all cracks and some others are
    labelled, one photo is gone since, one has other bytes."""
    root = tmp_path_factory.mktemp("site")
    make_photos(root / "photos")
    out = root / "night's results"
    sources = (str(root / "photos"),)
    scan(ScanConfig(sources=sources, out=out, model=tiny_bundle.path, workers=0))
    table = ds.dataset(str(out)).to_table().to_pylist()
    rows = {row["path"].rpartition("/")[2]: row for row in table}
    named = {name: row["uri"] for name, row in rows.items()}
    label(out, {named[f"IMG_{k}.jpg"]: "crack" for k in range(4)}
          | {named["IMG_4.jpg"]: "clear", named["large.jpg"]: "crack", named["copy.jpg"]: "clear",
             named["far.jpg"]: "unsure", named["empty.jpg"]: "unsure",
             named["no-fix.jpg"]: "clear", named[HOSTILE]: "crack",
             named["caf\\xe9.jpg"]: "crack"})  # fmt: skip
    photos = root / "photos"
    (photos / "span-1" / "south" / "IMG_0.jpg").unlink()
    save_photo(photos / "span-1" / "north" / "IMG_1.jpg", 99)
    return SimpleNamespace(out=out, photos=photos, rows=rows)
