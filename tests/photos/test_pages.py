"""A TIFF with several photos: each is a photo of the listing, with an address of its own."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pytest
import tifffile
from PIL import Image, ImageFile

from bench.faults.encodings import with_tiff_loop
from inspector.photos import reading
from inspector.photos.address import page_of, page_uri, path_of, text_of, uri_of
from inspector.photos.decode import decode
from inspector.photos.pictures import screen
from inspector.photos.source import Discovery, is_gone, suffix_of
from inspector.scanning import ScanConfig, scan
from inspector.types import FailureCode, ImageRef
from tests.photos.files import SPEC, encoded, failure, photo, surface

GREYS = (30, 90, 150, 210)


def pages(
    path, count: int = 3, *, big: bool = False, order: Literal["<", ">"] = "<", **options
) -> None:
    with tifffile.TiffWriter(path, bigtiff=big, byteorder=order) as file:
        for grey in GREYS[:count]:
            file.write(np.full((40, 50, 3), grey, np.uint8), photometric="rgb", **options)


def listed(*sources) -> list[ImageRef]:
    return list(Discovery([str(source) for source in sources]))


def test_addresses():
    uri = uri_of("/a/b#page=2 ü.tif")
    assert page_of(uri) == 1 and path_of(uri) == "/a/b#page=2 ü.tif"
    second = page_uri(uri, 12)
    assert second == f"{uri}#page=12" and page_uri(uri, 1) == uri
    assert page_of(second) == 12 and path_of(second) == path_of(uri)
    assert text_of(second) == "/a/b#page=2 ü.tif#page=12"
    assert suffix_of(second) == ".tif"
    assert page_of("/plain/path#page=3") == page_of(f"{uri}#page=0") == 1


def test_a_directory_that_follows_itself_is_one_page(tmp_path):
    (tmp_path / "loop.tif").write_bytes(with_tiff_loop(encoded(surface(40, 30), "TIFF")))
    assert len(listed(tmp_path)) == 1


@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("held", [True, False])
def test_each_page_is_a_photo(big, order, held, tmp_path, monkeypatch):
    if not held:
        monkeypatch.setattr(reading, "_MOST_HELD_BYTES", 100)
    pages(tmp_path / "scan.tif", big=big, order=order)
    Image.new("RGB", (9, 9)).save(tmp_path / "single.tif")
    refs = listed(tmp_path)
    uri = uri_of(str((tmp_path / "scan.tif").resolve()))
    assert [ref.uri for ref in refs[:3]] == [uri, f"{uri}#page=2", f"{uri}#page=3"]
    assert len(refs) == 4 and [ref.index for ref in refs] == [0, 1, 2, 3]
    outcomes = [photo(decode(ref, SPEC)) for ref in refs[:3]]
    assert [outcome.pixels_HWC.mean() for outcome in outcomes] == [30, 90, 150]
    assert len({outcome.facts.content_hash for outcome in outcomes}) == 1
    assert [outcome.ref for outcome in outcomes] == refs[:3]
    assert refs == listed(tmp_path)


def test_named_files_and_lists_have_pages_too(tmp_path):
    pages(tmp_path / "scan.tif")
    (tmp_path / "list.txt").write_text(str(tmp_path / "scan.tif"))
    assert len(listed(tmp_path / "scan.tif")) == 3
    assert len(listed(f"@{tmp_path / 'list.txt'}")) == 3


def test_smaller_versions_masks_and_thumbnails_are_no_photos(tmp_path):
    pixels = np.full((64, 96, 3), 90, np.uint8)
    with tifffile.TiffWriter(tmp_path / "ortho.tif") as file:
        file.write(pixels, photometric="rgb")
        file.write(pixels[::2, ::2], photometric="rgb", subfiletype=1)
        file.write(np.ones((64, 96), bool), photometric="mask", subfiletype=4)
        file.write(pixels[::4, ::4], photometric="rgb")
        file.write(pixels[:30, :80], photometric="rgb")
    assert [page_of(ref.path) for ref in listed(tmp_path)] == [1, 2]
    second = photo(decode(listed(tmp_path)[1], SPEC))
    assert (second.facts.width, second.facts.height) == (80, 30)


def test_a_page_can_be_shown(tmp_path, monkeypatch):
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", False)  # set back: it is shown here
    pages(tmp_path / "scan.tif")
    picture = screen(listed(tmp_path)[2].uri)
    assert (picture.width, picture.height) == (50, 40)


def test_a_page_that_is_gone(tmp_path):
    pages(tmp_path / "scan.tif", 4)
    *_, last = listed(tmp_path)
    assert not is_gone(last.uri)
    pages(tmp_path / "scan.tif", 2)
    assert is_gone(last.uri)
    failure(decode(last, SPEC), FailureCode.VANISHED)
    (tmp_path / "scan.tif").unlink()
    assert is_gone(last.uri)


@pytest.mark.parametrize("kept", [3, 8, 60, 200, 3000, 6100])
def test_a_damaged_file_is_listed_once(kept, tmp_path):
    pages(tmp_path / "scan.tif", 4)
    data = (tmp_path / "scan.tif").read_bytes()
    (tmp_path / "scan.tif").write_bytes(data[:kept])
    assert len(listed(tmp_path)) >= 1
    for ref in listed(tmp_path):
        decode(ref, SPEC)  # raises nothing


def test_a_chain_of_pages_that_never_ends(tmp_path):
    pages(tmp_path / "scan.tif", 2)
    data = bytearray((tmp_path / "scan.tif").read_bytes())
    first = int.from_bytes(data[4:8], "little")
    end = first + 2 + 12 * int.from_bytes(data[first : first + 2], "little")
    data[end : end + 4] = first.to_bytes(4, "little")
    (tmp_path / "scan.tif").write_bytes(data)
    assert 1 <= len(listed(tmp_path)) <= 2


def test_a_scan_has_a_row_for_each_page(tmp_path, tiny_bundle):
    (tmp_path / "photos").mkdir()
    pages(tmp_path / "photos/scan.tif")
    config = {"sources": (str(tmp_path / "photos"),), "out": tmp_path / "out", "workers": 1}
    summary = scan(ScanConfig(model=tiny_bundle.path, **config))
    assert (summary.discovered, summary.table.ok) == (3, 3)
    again = scan(ScanConfig(model=tiny_bundle.path, **config))
    assert (again.already_done, again.run.rows) == (3, 0)
    pages(tmp_path / "photos/scan.tif", 2)
    fewer = scan(ScanConfig(model=tiny_bundle.path, prune=True, **config))
    assert (fewer.changed, fewer.pruned, fewer.table.rows) == (2, 1, 2)
