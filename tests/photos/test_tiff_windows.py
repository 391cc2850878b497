"""A TIFF read by windows is the TIFF, however it is cut, and costs the memory of its pixels."""

from __future__ import annotations

import hashlib
import os
import struct
import subprocess
import sys

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from bench.faults.encodings import tiff
from inspector.photos import reading, tiff_windows
from inspector.photos.opened import DecodeLimits, OpenBytes
from inspector.photos.reading import Contents, read
from inspector.types import Decoded, FailureCode, ImageRef
from tests.photos.files import ORIENTATION, decode_path, encoded, failure, surface


@pytest.fixture
def small_windows(monkeypatch):
    monkeypatch.setattr(tiff_windows, "_WINDOW_PIXELS", 700)


@pytest.fixture
def left_in_the_file(monkeypatch):
    monkeypatch.setattr(reading, "_MOST_HELD_BYTES", 100)


layouts = st.one_of(
    st.tuples(st.just("strips"), st.integers(1, 90)),
    st.tuples(st.just("tiles"), st.sampled_from([(16, 16), (16, 48), (64, 32), (112, 112)])),
)


@settings(max_examples=120, deadline=None)
@given(
    width=st.integers(1, 90),
    height=st.integers(1, 90),
    layout=layouts,
    planar=st.sampled_from(["contig", "separate"]),
    bits=st.sampled_from([8, 16]),
    order=st.sampled_from("<>"),
    compression=st.sampled_from([None, "deflate", "lzw"]),
    big=st.booleans(),
    pixels=st.sampled_from([100, 700, 1 << 20]),
)
def test_any_layout(
    tmp_path_factory, width, height, layout, planar, bits, order, compression, big, pixels
):
    path = tmp_path_factory.getbasetemp() / "layout.tif"
    rgb = np.asarray(surface(width, height))
    values = rgb if bits == 8 else rgb.astype(np.uint16) << 8 | 7
    kind, size = layout
    options = {"rowsperstrip": size} if kind == "strips" else {"tile": size}
    tifffile.imwrite(
        path,
        values if planar == "contig" else np.ascontiguousarray(np.moveaxis(values, -1, 0)),
        photometric="rgb",
        planarconfig=planar,
        byteorder=order,
        compression=compression,
        predictor=compression is not None and planar == "contig",
        bigtiff=big,
        **options,
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tiff_windows, "_WINDOW_PIXELS", pixels)
        assert np.array_equal(tiff_windows.read_pixels(path.read_bytes()), rgb)


@pytest.mark.parametrize("orientation", range(1, 10))
@pytest.mark.parametrize("tiled", [False, True])
def test_every_orientation(orientation, tiled, small_windows, tmp_path):
    path = tmp_path / "turned.tif"
    rgb = np.asarray(surface(50, 34))
    layout = {"tile": (16, 16)} if tiled else {"rowsperstrip": 5}
    extra = [(ORIENTATION, 3, 1, orientation, True)]
    tifffile.imwrite(path, rgb, photometric="rgb", extratags=extra, **layout)
    upright = ImageOps.exif_transpose(_with_orientation(rgb, orientation))
    assert np.array_equal(tiff_windows.read_pixels(path.read_bytes()), np.asarray(upright))
    outcome = decode_path(path)
    assert isinstance(outcome, Decoded)
    assert (outcome.facts.width, outcome.facts.height) == upright.size


def _with_orientation(rgb: np.ndarray, orientation: int) -> Image.Image:
    image = Image.fromarray(rgb)
    image.getexif()[ORIENTATION] = orientation
    return image


@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize("order", ["<", ">"])
def test_facts_of_every_byte_order(big, order, decode_bytes):
    rgb = np.asarray(surface(40, 30))
    data = tiff(rgb, {271: b"DJI\0", 272: b"FC6310\0", 274: (6,)}, big=big, order=order)
    data = _as_text(data, big, order)
    outcome = decode_bytes(data)
    assert isinstance(outcome, Decoded)
    assert (outcome.facts.width, outcome.facts.height) == (30, 40)
    assert (outcome.facts.format, outcome.facts.camera) == ("TIFF", "DJI FC6310")


def _as_text(data: bytes, big: bool, order: str) -> bytes:
    """Turn fields of bytes (7) into fields of text (2)."""
    for tag in (271, 272):
        data = data.replace(struct.pack(f"{order}HH", tag, 7), struct.pack(f"{order}HH", tag, 2))
    return data


def test_a_large_file_is_not_held(left_in_the_file, tmp_path, monkeypatch):
    path = tmp_path / "large.tif"
    path.write_bytes(encoded(surface(60, 40), "TIFF"))
    with read(ImageRef.of(path), DecodeLimits()) as contents:
        assert isinstance(contents, Contents)
        assert isinstance(contents.data, OpenBytes)
        held = path.read_bytes()
        assert contents.content_hash == hashlib.sha256(held).hexdigest()
        assert contents.data[:] == held
        assert contents.data[3:9] == held[3:9]
        assert contents.data[len(held) - 2 :] == held[-2:]
        open_file = contents.data
    assert open_file.closed
    from_file = decode_path(path)
    monkeypatch.undo()
    in_memory = decode_path(path)
    assert np.array_equal(from_file.pixels_HWC, in_memory.pixels_HWC)
    assert from_file.facts == in_memory.facts


def test_a_file_that_changes_while_it_is_decoded(left_in_the_file, tmp_path, monkeypatch):
    path = tmp_path / "large.tif"
    path.write_bytes(encoded(surface(60, 40), "TIFF"))
    decode = tiff_windows.read_pixels

    def written_to(data):
        os.utime(path, ns=(1, 1))
        return decode(data)

    monkeypatch.setattr(tiff_windows, "read_pixels", written_to)
    failure(decode_path(path), FailureCode.CHANGED)


def test_a_storage_that_fails_while_it_is_decoded(left_in_the_file, tmp_path, monkeypatch):
    path = tmp_path / "large.tif"
    path.write_bytes(encoded(surface(60, 40), "TIFF"))

    def fails(data):
        monkeypatch.setattr(data._file.__class__, "read", lambda *_: (_ for _ in ()).throw(OSError))
        return data[:4]

    monkeypatch.setattr(tiff_windows, "read_pixels", fails)
    failure(decode_path(path), FailureCode.IO_ERROR)


def test_other_large_formats_are_held(left_in_the_file, tmp_path):
    path = tmp_path / "large.png"
    path.write_bytes(encoded(surface(60, 40), "PNG"))
    outcome = read(ImageRef.of(path), DecodeLimits())
    assert isinstance(outcome, Contents)
    assert outcome.data == path.read_bytes()


LIES: dict[str, dict[int, tuple[int, ...] | bytes | None]] = {
    "tiles larger than any photo": {322: (65536 - 16,), 323: (65536 - 16,), 278: None},
    "tiles that are not there": {322: (16,), 323: (16,), 278: None},
    "a tile beyond the end": {322: (64,), 323: (64,), 278: None, 273: (10**9,)},
    "no tile bytes": {322: (64,), 323: (64,), 278: None, 279: (1,)},
    "strips beyond the end": {273: (10**9,)},
    "strips of no bytes": {279: (1,)},
    "many more rows than pixels": {257: (20_000,), 278: (20_000,)},
    "packed, but it is not": {259: (8,)},
    "a tile that claims the whole file": {322: (64,), 323: (64,), 278: None, 279: (10**9,)},
}


@pytest.mark.parametrize("large", [False, True])
@pytest.mark.parametrize("name", LIES)
def test_lies_about_strips_and_tiles(name, large, decode_bytes, request):
    if large:
        request.getfixturevalue("left_in_the_file")
    data = tiff(np.asarray(surface(48, 48)), LIES[name])
    outcome = decode_bytes(data)
    assert getattr(outcome, "code", None) in (FailureCode.CORRUPT, FailureCode.TRUNCATED), outcome


@pytest.mark.parametrize("mask_layout", [{"rowsperstrip": 3}, {"tile": (16, 32)}])
def test_what_a_mask_hides_is_grey(mask_layout, small_windows, tmp_path):
    path = tmp_path / "masked.tif"
    rgb = np.asarray(surface(60, 40))
    there = np.zeros((40, 60), bool)
    there[5:30, 10:50] = True
    with tifffile.TiffWriter(path) as file:
        file.write(rgb, photometric="rgb", tile=(32, 32))
        file.write(there, photometric="mask", subfiletype=4, compression="deflate", **mask_layout)
    right = np.where(there[..., None], rgb, 128)
    assert np.array_equal(tiff_windows.read_pixels(path.read_bytes()), right)


@pytest.mark.parametrize(
    ("words", "hidden"), [(b"0\0", True), (b" 0 \0", True), (b"nan\0", False), (b"-9999\0", False)]
)
def test_what_gdal_calls_no_data_is_grey(words, hidden, decode_bytes):
    rgb = np.asarray(surface(48, 48)).clip(1, 255)
    rgb[:, :20] = 0
    rgb[0, 30] = 0, 0, 9
    pixels = tiff_windows.read_pixels(tiff(rgb, {42113: words}))
    right = rgb.copy()
    if hidden:
        right[:, :20] = 128
    assert np.array_equal(pixels, right)


PEAK = """
import re, sys
from inspector.photos.decode import open_image
from inspector.photos.opened import DecodeLimits
from inspector.photos.reading import read
from inspector.photos.tiff_windows import read_pixels
from inspector.types import ImageRef

def peak():
    return int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1]) * 1024

before = peak()
with read(ImageRef.of(sys.argv[1]), DecodeLimits()) as contents:
    pixels = read_pixels(contents.data)
print((peak() - before) / pixels.nbytes)
"""
"""Prints the memory that it takes to decode, in sizes of the pixels."""


@pytest.mark.skipif(sys.platform != "linux", reason="counts memory as Linux does")
@pytest.mark.parametrize(
    "layout",
    [{"rowsperstrip": 5000}, {"rowsperstrip": 16}, {"tile": (256, 256), "compression": "deflate"}],
    ids=str,
)
def test_memory_holds_the_pixels_once(layout, tmp_path):
    path = tmp_path / "large.tif"
    line = np.random.default_rng(0).integers(0, 256, (1, 8000, 3), dtype=np.uint8)
    tifffile.imwrite(path, np.repeat(line, 5000, axis=0), photometric="rgb", bigtiff=True, **layout)
    done = subprocess.run(
        [sys.executable, "-c", PEAK, path], capture_output=True, text=True, check=True
    )
    assert 0.9 < float(done.stdout) < 1.4
