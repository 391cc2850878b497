"""PNGs: colour keys count, and no part that says nothing about the pixels costs the photo."""

from __future__ import annotations

import struct
import zlib
from datetime import datetime

import numpy as np
import pytest
from PIL import Image

from bench.faults.encodings import png, png_header, with_png_chunk
from inspector.photos.png import plain_png
from inspector.types import FailureCode
from tests.photos.files import ORIENTATION, SPEC, encoded, failure, photo, png_chunk, surface

SIDE = SPEC.size
IMAGE = surface(SIDE, SIDE)
RGB = np.asarray(IMAGE)
PLAIN = encoded(IMAGE, "PNG")


def key(*numbers: int) -> bytes:
    return struct.pack(f">{len(numbers)}H", *numbers)


def packed_grey(values: np.ndarray, bits: int) -> bytes:
    """Values (H, W) of 1, 2 or 4 bits as a grey PNG."""
    each = ((values[..., np.newaxis] >> np.arange(bits)[::-1]) & 1).astype(np.uint8)
    rows = np.packbits(each.reshape(len(values), -1), axis=1)
    body = b"".join(b"\0" + row.tobytes() for row in rows)
    header = png_header(values.shape[1], values.shape[0], bits=bits, colour=0)
    return header + png_chunk(b"IDAT", zlib.compress(body)) + png_chunk(b"IEND", b"")


def test_a_colour_key_of_rgb(decode_bytes):
    pixels = RGB.copy()
    pixels[:9] = (0, 255, 1)
    outcome = photo(decode_bytes(with_png_chunk(png(pixels), b"tRNS", key(0, 255, 1))))
    assert (outcome.pixels_HWC[:9] == 128).all()
    assert np.array_equal(outcome.pixels_HWC[9:], RGB[9:])


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_a_colour_key_of_narrow_grey(bits, decode_bytes):
    values = RGB[..., 0] >> (8 - bits)
    wanted = int(values[5, 5])
    data = with_png_chunk(packed_grey(values, bits), b"tRNS", key(wanted))
    right = np.where(values == wanted, 128, values.astype(int) * 255 // (2**bits - 1))
    assert np.array_equal(photo(decode_bytes(data)).pixels_HWC[..., 1], right)


@pytest.mark.parametrize("bits", [8, 16])
def test_a_colour_key_of_grey(bits, decode_bytes):
    values = RGB[..., :1].astype(np.uint16) * 257 + np.arange(SIDE, dtype=np.uint16)[:, None, None]
    values = values if bits == 16 else RGB[..., :1]
    wanted = int(values[5, 5, 0])
    data = with_png_chunk(png(values), b"tRNS", key(wanted))
    shown = (values >> 8 if bits == 16 else values)[..., 0]
    right = np.where(values[..., 0] == wanted, 128, shown)
    assert np.array_equal(photo(decode_bytes(data)).pixels_HWC[..., 2], right)


def test_a_colour_key_of_16_bit_rgb_is_not_ignored(decode_bytes):
    data = with_png_chunk(png(RGB.astype(np.uint16) * 257), b"tRNS", key(1, 2, 3))
    assert "transparent" in failure(decode_bytes(data), FailureCode.UNSUPPORTED).detail


BALLAST = {
    "short pHYs": (b"pHYs", b"\0\0\0"),
    "short gAMA": (b"gAMA", b"\0"),
    "short cHRM": (b"cHRM", bytes(7)),
    "short sRGB": (b"sRGB", b""),
    "short tRNS": (b"tRNS", b"\0"),
    "zTXt of an unknown method": (b"zTXt", b"Comment\0\x78" + zlib.compress(b"hi")),
    "EXIF as zTXt of an unknown method": (b"zTXt", b"Raw profile type exif\0\x78junk"),
    "large XMP": (
        b"iTXt",
        b"XML:com.adobe.xmp\0\1\0\0\0" + zlib.compress(b"DocumentAncestors" * 70_000),
    ),
    "large plain XMP": (b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + b"Ancestors" * 150_000),
    "large ICC profile": (b"iCCP", b"wide\0\0" + zlib.compress(bytes(3 << 20))),
    "XMP that does not unpack": (b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0junk"),
    "broken EXIF": (b"eXIf", b"\xff" * 40),
    "an animation without frames": (b"acTL", key(0, 1, 0, 0)),
}


@pytest.mark.parametrize("name", BALLAST)
@pytest.mark.parametrize("place", [33, -12], ids=["before the pixels", "behind them"])
def test_no_part_beside_the_pixels_costs_the_photo(name, place, decode_bytes):
    data = PLAIN[:place] + png_chunk(*BALLAST[name]) + PLAIN[place:]
    assert np.array_equal(photo(decode_bytes(data)).pixels_HWC, RGB)


def test_a_wrong_checksum_beside_the_pixels_costs_no_photo(decode_bytes):
    for kind in (b"pHYs", b"eXIf", b"tEXt"):
        chunk = png_chunk(kind, bytes(9))[:-4] + b"junk"
        assert np.array_equal(photo(decode_bytes(PLAIN[:33] + chunk + PLAIN[33:])).pixels_HWC, RGB)


def test_a_wrong_checksum_of_a_colour_key_is_damage(decode_bytes):
    chunk = png_chunk(b"tRNS", key(1, 2, 3))[:-4] + b"junk"
    failure(decode_bytes(PLAIN[:33] + chunk + PLAIN[33:]), FailureCode.CORRUPT)


def test_exif_and_xmp_stay(decode_bytes):
    exif = Image.Exif()
    exif[ORIENTATION] = 3
    xmp = (
        b'<x:xmpmeta xmlns:x="adobe:ns:meta/" xmlns:e="http://ns.adobe.com/exif/1.0/">'
        b"<e:DateTimeOriginal>2024-05-06T07:08:09</e:DateTimeOriginal></x:xmpmeta>"
    )
    packed = b"XML:com.adobe.xmp\0\1\0\0\0" + zlib.compress(xmp)
    data = with_png_chunk(encoded(IMAGE, "PNG", exif=exif), b"iTXt", packed)
    outcome = photo(decode_bytes(with_png_chunk(data, b"pHYs", b"")))
    assert np.array_equal(outcome.pixels_HWC, RGB[::-1, ::-1])
    assert outcome.facts.taken_at == datetime(2024, 5, 6, 7, 8, 9)


def test_a_plain_png_is_passed_on_as_it_is():
    assert plain_png(PLAIN) is PLAIN
    for end in range(len(PLAIN)):
        assert plain_png(PLAIN[:end]) == PLAIN[:end]


def test_pngs_as_apple_packs_them_are_unsupported(decode_bytes):
    data = PLAIN[:8] + png_chunk(b"CgBI", b"\x50\0\x20\6") + PLAIN[8:33]
    squeezed = zlib.compress(b"\0" * (SIDE * (3 * SIDE + 1)))[2:-4]
    data += png_chunk(b"IDAT", squeezed) + png_chunk(b"IEND", b"")
    failure(decode_bytes(data), FailureCode.UNSUPPORTED)
