"""A real table against its photos."""

from __future__ import annotations

import os
from pathlib import Path

import pyarrow.dataset as ds
import pytest

from bench.faults.bad_files import make_catalogue
from inspector.results.verify import Remark, VerifyConfig, verify
from inspector.scanning import ScanConfig, scan
from tests.results.verify.table import flip
from tests.scanning.walls import wall


@pytest.fixture(scope="module")
def scanned(tmp_path_factory, tiny_bundle):
    """A real scan of every odd file there is."""
    root = tmp_path_factory.mktemp("scanned")
    make_catalogue(root / "photos")
    for number in range(4):
        wall(number).save(root / "photos" / f"{number}.png")
    sources = (str(root / "photos" / "whole" / ".." / "whole"), str(root / "photos"))
    scan(
        ScanConfig(
            sources=sources, out=root / "out", model=tiny_bundle.path, precision="fp32",
            workers=0,
        )
    )  # fmt: skip
    return root


def test_a_real_scan_is_proven_and_its_photos_are_as_they_were(scanned):
    result = verify(VerifyConfig(out=scanned / "out", photos=True))
    assert (result.damage, {note.code for note in result.notes}) == ((), {Remark.PHOTO_SKIPPED})
    table = ds.dataset(scanned / "out").to_table()
    assert result.photos == result.rows == len(table)
    assert result.skipped == table["content_hash"].null_count


def test_photos_that_are_not_as_they_were(scanned):
    photos = scanned / "photos"
    (photos / "0.png").unlink()
    flip_quietly(photos / "1.png")
    with (photos / "2.png").open("ab") as file:
        file.write(b"more")
    (photos / "3.png").unlink()
    os.mkfifo(photos / "3.png")
    result = verify(VerifyConfig(out=scanned / "out", photos=True))
    assert result.damage == ()
    notes = [note for note in result.notes if note.code != Remark.PHOTO_SKIPPED]
    assert {(str(note.code), Path(note.where).name) for note in notes} == {
        ("photo_gone", "0.png"),
        ("photo_content", "1.png"),
        ("photo_changed", "2.png"),
        ("photo_changed", "3.png"),
    }


def flip_quietly(path):
    about = path.stat()
    flip(path)
    os.utime(path, ns=(about.st_atime_ns, about.st_mtime_ns))
