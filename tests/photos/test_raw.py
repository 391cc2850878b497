"""Camera raw: developed by a fixed rule, upright; a preview is called one; or a typed failure."""

from __future__ import annotations

import io
import struct
from datetime import datetime
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image, ImageOps

from bench.faults.encodings import tiff
from bench.faults.negatives import dng
from inspector.model.preprocess import PreprocessSpec
from inspector.photos import raw
from inspector.photos.decode import open_image
from inspector.types import FailureCode
from tests.photos.files import ORIENTATION, difference, failure, photo, surface

SIDES = (96, 64)
RGB = np.asarray(surface(*SIDES))
SMALL = np.asarray(surface(48, 32))
WHOLE = PreprocessSpec(size=64)
HEADS = {
    "Canon CR3": b"\0\0\0\x18ftypcrx ",
    "Fujifilm": b"FUJIFILMCCD-RAW 0201",
    "Panasonic": b"IIU\0\x08\0\0\0",
    "Olympus": b"IIRO\x08\0\0\0",
    "Canon CRW": b"II\x1a\0\0\0HEAPCCDR",
    "Minolta": b"\0MRM\0\0\1\0",
    "Sigma": b"FOVb\3\0\2\0",
    "Canon CR2": tiff(RGB, head=b"CR\2\0" + bytes(4)),
    "Phase One": tiff(RGB, head=b"IIII" + bytes(4)),
    "a mosaic in a TIFF": tiff(RGB[..., :1], {262: (32803,)}),
}


@pytest.fixture
def rawpy():
    return pytest.importorskip("rawpy", reason="the extra `raw` is not installed")


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_a_dng_is_developed_upright(rawpy, orientation, decode_bytes):
    image = surface(*SIDES)
    image.getexif()[ORIENTATION] = orientation
    upright = ImageOps.exif_transpose(image)
    outcome = photo(decode_bytes(dng(RGB, orientation=orientation), WHOLE), WHOLE)
    assert (outcome.facts.width, outcome.facts.height) == upright.size
    right = np.asarray(upright.resize((64, 64), Image.Resampling.BILINEAR))
    shifted = outcome.pixels_HWC.astype(int) - right
    assert abs(shifted.mean()) < 16 and np.abs(shifted - shifted.mean()).mean() < 6
    assert outcome.facts.format == "DNG"
    assert not outcome.facts.is_preview


def test_facts(rawpy, decode_bytes):
    facts = photo(decode_bytes(dng(RGB), WHOLE), WHOLE).facts
    assert facts.camera == "DJI FC6310"
    assert facts.taken_at == datetime(2026, 1, 2, 3, 4, 5)


def test_brightness_does_not_depend_on_the_pixels(rawpy):
    """A bright spot changes nothing elsewhere, and a dark photo stays dark."""
    dark = (RGB // 4).copy()
    spot = dark.copy()
    spot[:8, :8] = 255
    pixels, others = (np.asarray(open_image(dng(rgb)).convert("RGB")) for rgb in (dark, spot))
    assert np.array_equal(pixels[20:], others[20:])
    assert difference(pixels, dark) < 20
    half = np.asarray(open_image(dng(RGB, white=4095)).convert("RGB"))
    assert difference(half, np.asarray(open_image(dng(RGB)).convert("RGB"))) < 2


def test_the_white_balance_is_the_cameras(rawpy):
    grey = np.full_like(RGB, 128)
    neutral = (0.5, 1.0, 0.8)
    cast = ((grey / 255) ** 2.2 * neutral) ** (1 / 2.2) * 255
    pixels = np.asarray(open_image(dng(cast.round().astype(np.uint8), neutral=neutral)))
    means = pixels.reshape(-1, 3).mean(axis=0)
    assert np.ptp(means) < 6


@pytest.mark.parametrize("known", [True, False])
def test_a_preview_in_front_is_not_taken_for_the_photo(rawpy, known, decode_bytes):
    data = dng(RGB, preview=SMALL, compression=None if known else "jpegxl")
    facts = photo(decode_bytes(data, WHOLE), WHOLE).facts
    assert facts.is_preview is not known
    assert (facts.width, facts.height) == (SIDES if known else (48, 32))
    assert facts.format == ("DNG" if known else "DNG preview")
    assert facts.camera == "DJI FC6310"


def test_a_preview_that_only_libraw_finds(rawpy, decode_bytes, monkeypatch):
    """As of a sensor's compression that LibRaw hears of only when it unpacks."""
    stream = io.BytesIO()
    Image.fromarray(SMALL).save(stream, "JPEG", quality=95)

    class Raw:
        sizes = rawpy.imread(io.BytesIO(dng(RGB, orientation=6))).sizes

        def postprocess(self, **_):
            raise rawpy.LibRawFileUnsupportedError(b"not known")

        def extract_thumb(self):
            return rawpy.Thumbnail(rawpy.ThumbFormat.JPEG, stream.getvalue())

    monkeypatch.setattr(rawpy, "imread", lambda _: Raw())
    facts = photo(decode_bytes(dng(RGB, orientation=6), WHOLE), WHOLE).facts
    assert (facts.width, facts.height, facts.format) == (32, 48, "DNG preview")


def test_neither_photo_nor_preview(rawpy, decode_bytes):
    outcome = decode_bytes(dng(RGB, compression="jpegxl"))
    assert "LibRaw" in failure(outcome, FailureCode.UNSUPPORTED).detail


def test_a_cut_file_is_truncated(rawpy, decode_bytes):
    for data in (dng(RGB), dng(RGB, preview=SMALL)):
        for kept in range(16, len(data) - 256, len(data) // 30):
            code = failure(decode_bytes(data[:kept]), FailureCode.TRUNCATED).code
            assert code is FailureCode.TRUNCATED, kept


def test_any_damage_has_an_answer(rawpy, decode_bytes):
    data = dng(RGB[:16, :16])
    for at in range(8, len(data), 5):
        damaged = bytearray(data)
        damaged[at] ^= 0xFF
        decode_bytes(bytes(damaged))  # raises nothing


def test_the_limit_of_pixels_holds(rawpy, decode_bytes):
    failure(decode_bytes(dng(RGB), max_pixels=96 * 64 - 1), FailureCode.TOO_LARGE)
    photo(decode_bytes(dng(RGB), WHOLE, max_pixels=96 * 64), WHOLE)


def test_a_preview_beyond_the_limit_is_not_decoded(rawpy, decode_bytes, monkeypatch):
    """Neither the first page of a file that LibRaw does not know, nor what LibRaw finds."""
    decoded: list[str] = []
    monkeypatch.setattr(raw, "read_pixels", lambda _: decoded.append("page"))
    monkeypatch.setattr(raw, "upright", lambda *_: decoded.append("thumbnail"))
    page = dng(RGB[:16, :16], preview=SMALL, compression="jpegxl")
    failure(decode_bytes(page, max_pixels=48 * 32 - 1), FailureCode.TOO_LARGE)
    stream = io.BytesIO()
    Image.fromarray(SMALL).save(stream, "JPEG", quality=95)

    class Raw:
        sizes = SimpleNamespace(width=16, height=16, flip=0)

        def postprocess(self, **_):
            raise rawpy.LibRawFileUnsupportedError(b"not known")

        def extract_thumb(self):
            return rawpy.Thumbnail(rawpy.ThumbFormat.JPEG, stream.getvalue())

    monkeypatch.setattr(rawpy, "imread", lambda _: Raw())
    for data in (dng(RGB), b"FUJIFILMCCD-RAW 0201"):
        failure(decode_bytes(data, max_pixels=48 * 32 - 1), FailureCode.TOO_LARGE)
    assert not decoded


@pytest.mark.parametrize("sides", [(65_000, 65_000), (65_000, 64)])
def test_a_lie_about_the_size(rawpy, sides, decode_bytes):
    data = dng(RGB)
    for tag, own, said in zip((256, 257), SIDES, sides, strict=True):
        entry = struct.pack("<HHII", tag, 4, 1, own)
        assert entry in data
        data = data.replace(entry, struct.pack("<HHII", tag, 4, 1, said))
    outcome = decode_bytes(data)
    expected = (FailureCode.TOO_LARGE, FailureCode.TRUNCATED, FailureCode.UNSUPPORTED)
    assert getattr(outcome, "code", None) in expected


@pytest.mark.parametrize("name", HEADS)
def test_a_header_and_nothing_else(rawpy, name, decode_bytes):
    outcome = decode_bytes(HEADS[name].ljust(64, b"\0"))
    code = getattr(outcome, "code", None)
    expected = (FailureCode.UNSUPPORTED, FailureCode.TRUNCATED, FailureCode.CORRUPT)
    assert code in expected or outcome.facts.is_preview, outcome


@pytest.mark.parametrize("name", [*HEADS, "DNG"])
def test_without_the_extra_the_row_names_it(name, decode_bytes, without):
    without("rawpy")
    outcome = decode_bytes(HEADS.get(name, dng(RGB)).ljust(64, b"\0"))
    detail = failure(outcome, FailureCode.UNSUPPORTED).detail
    assert detail == 'camera raw files need: pip install "crack-inspector[raw]"'
