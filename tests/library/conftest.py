"""A folder as a person has it: photos, and what a scan made of them."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import inspector
from inspector.results.labels import Decision, Label, RegionLabel, open_labels
from tests.house.conftest import REPOSITORY

SAMPLES = REPOSITORY / "samples"


@pytest.fixture(scope="package")
def room(tmp_path_factory):
    """`photos`, scanned into `o`, and with `large` into `both`, by the model that comes along;
    somebody labelled one of the photos."""
    room = tmp_path_factory.mktemp("room")
    for folder in ("photos", "large"):
        (room / folder).mkdir()
    for name, sample in {
        "crack.jpg": "crack_wide_diagonal.jpg", "clear.jpg": "clear_boards.jpg",
        "broken.jpg": "broken_text.jpg",
    }.items():  # fmt: skip
        shutil.copy(SAMPLES / sample, room / "photos" / name)
    with Image.open(SAMPLES / "crack_wide_diagonal.jpg") as photo:
        large = photo.resize((600, 454))
    large.save(room / "large" / "dense.png")
    turned = Image.Exif()
    turned[0x0112] = 6
    large.save(room / "large" / "turned.jpg", exif=turned)
    before = os.getcwd()
    os.chdir(room)
    try:
        rows: list[Any] = []
        inspector.scan("photos", out="o")
        inspector.scan(["photos", Path("large")], out="both", rows=rows.extend)
        label(room / "both", next(row for row in rows if row["path"].endswith("dense.png")))
        yield room
    finally:
        os.chdir(before)


def label(out, row):
    with open_labels(out, "Jörg") as store:
        store.add(
            Decision(
                uri=row["uri"], label=Label.CLEAR, content_hash=row["content_hash"],
                size_bytes=row["size_bytes"], mtime=row["mtime"], verdict=row["verdict"],
                p_crack=row["p_crack"], model=None, regions=(RegionLabel(1, 2, 3, 4, Label.CLEAR),),
                note='=a "form tie", behind <b>',
            )
        )  # fmt: skip
