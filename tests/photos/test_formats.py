"""Images recognised by name and by content."""

from __future__ import annotations

import io
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from inspector.photos.formats import (
    IMAGE_SUFFIXES,
    MAGIC_BYTES,
    PLAIN,
    named_like_an_image,
    sniff,
)
from inspector.types import FailureCode
from tests.photos.files import decode_path, failure


@pytest.mark.parametrize("form", [*PLAIN, "MPO", "AVIF"])
def test_every_format_of_pillow_is_known_by_its_content(form):
    stream = io.BytesIO()
    Image.new("RGB", (9, 9)).save(stream, form)
    assert sniff(stream.getvalue()[:MAGIC_BYTES]) == ("JPEG" if form == "MPO" else form)


@pytest.mark.parametrize("suffix", sorted(IMAGE_SUFFIXES))
def test_names(suffix):
    assert named_like_an_image(f"wall{suffix}")
    assert named_like_an_image(f"wall 3.b{suffix.upper()}")
    assert not named_like_an_image(f"wall{suffix}.txt")
    assert not named_like_an_image(suffix)  # a hidden file of that name has no suffix


@pytest.mark.parametrize("name", ["wall", "wall.", "wall.jpg.part", "jpg", "", "wall.mp4", "a.svg"])
def test_names_of_other_files(name):
    assert not named_like_an_image(name)


@pytest.mark.parametrize(
    "head",
    [
        b"",
        b"BM",
        b"BMW is a car maker",
        b"RIFF\0\0\0\0WAVE",
        b"%PDF-1.7",
        b"GIF",
        b"II*",
        b"P4 pipe, wall 3",
        b"P2 P3 P5",
        b"P5\nnext",
        b"\0\0\0\x18ftypisom",
        b"\0\0\1\xba",
        b"BAUTEIL 7 BM",
    ],
)
def test_content_of_other_files(head):
    assert sniff(head[:MAGIC_BYTES]) is None


BOXES = {
    "HEIC": [b"\0\0\0\x18ftyp" + brand for brand in b"heic heix heim heis hevc hevm hevs".split()],
    "HEIF": [b"\0\0\0\x18ftyp" + brand for brand in b"mif1 mif2 mif3 msf1 miaf".split()],
    "AVIF": [b"\0\0\0\x18ftypavif", b"\0\0\0\x18ftypavis"],
}
CAMERA_RAW = {
    "camera raw (Canon CR3)": [b"\0\0\0\x18ftypcrx "],
    "camera raw (Fujifilm RAF)": [b"FUJIFILMCCD-RAW 0201"],
    "camera raw (Panasonic RW2, Leica RWL)": [b"IIU\0\x18\0\0\0"],
    "camera raw (Olympus ORF)": [b"IIRO\x08\0\0\0", b"IIRS\x08\0\0\0", b"MMOR\0\0\0\x08"],
    "camera raw (Canon CRW)": [b"II\x1a\0\0\0HEAPCCDR"],
    "camera raw (Minolta MRW)": [b"\0MRM\0\0\1\0"],
    "camera raw (Sigma X3F)": [b"FOVb\3\0\2\0"],
}
OTHER_IMAGES = {
    "JPEG 2000": [b"\xff\x4f\xff\x51\0\x2f", b"\0\0\0\x0cjP  \r\n\x87\n"],
    "Netpbm (PBM, PGM, PPM)": [
        *(b"P%d\n2 2\n255\n" % number for number in range(1, 7)),
        b"P5 2 2 255\n\0\0",
        b"P6\n# camera 3\n",
        b"P7\nWIDTH 2\n",
        b"Pf\n2 2\n-1.0\n",
    ],
    "ICO": [b"\0\0\1\0\1\0\x10\x10\0\0\1\0\x20\0\x68\4"],
    "HDR": [b"#?RGBE\n", b"#?RADIANCE\n"],
    "OS/2 bitmap array": [b"BA\x28\0\0\0" + bytes(8) + b"BM"],
}


@pytest.mark.parametrize("form", BOXES | CAMERA_RAW | OTHER_IMAGES)
def test_formats_are_known_by_their_first_bytes(form):
    for head in (BOXES | CAMERA_RAW | OTHER_IMAGES)[form]:
        assert sniff(head[:MAGIC_BYTES]) == form


@pytest.mark.parametrize("form", OTHER_IMAGES)
def test_a_picture_in_another_format_is_unsupported_not_unknown(form, decode_bytes):
    for head in OTHER_IMAGES[form]:
        outcome = failure(decode_bytes(head.ljust(64, b"\0")), FailureCode.UNSUPPORTED)
        assert outcome.detail == f"{form} files are not supported"


@pytest.mark.parametrize(("name", "code"), [("a.tga", "unsupported"), ("a.jpg", "not_an_image")])
def test_a_tga_is_known_by_its_name_and_content(name, code, tmp_path):
    path = tmp_path / name
    Image.new("RGB", (9, 9)).save(path, "TGA")
    assert failure(decode_path(path), FailureCode(code))
    (tmp_path / "text.tga").write_bytes(b"notes from the site")
    failure(decode_path(tmp_path / "text.tga"), FailureCode.NOT_AN_IMAGE)


def bmp(depth: int, packing: int, *, masks: bytes = b"", data: bytes = bytes(9 * 9 * 4)) -> bytes:
    header = struct.pack("<IiiHHIIiiII", 40, 9, 9, 1, depth, packing, len(data), 0, 0, 0, 0) + masks
    start = 14 + len(header)
    return b"BM" + struct.pack("<IHHI", start + len(data), 0, 0, start) + header + data


BMPS = {
    "odd masks": (
        bmp(32, 3, masks=struct.pack("<III", 0x0FF00000, 0x000FF000, 0x00000FF0)),
        FailureCode.UNSUPPORTED,
    ),
    "a JPEG within": (bmp(0, 4), FailureCode.UNSUPPORTED),
    "64 bit": (bmp(64, 0, data=bytes(9 * 9 * 8)), FailureCode.UNSUPPORTED),
    "13 bit": (bmp(13, 0), FailureCode.CORRUPT),
    "an unknown packing": (bmp(24, 0x0BADBADB), FailureCode.CORRUPT),
    "cut short": (bmp(32, 3)[:60], FailureCode.TRUNCATED),
}


@pytest.mark.parametrize("name", BMPS)
def test_rare_and_broken_bmps(name, decode_bytes):
    data, code = BMPS[name]
    failure(decode_bytes(data), code)


@given(st.binary(max_size=MAGIC_BYTES))
def test_any_bytes_get_an_answer(head):
    assert sniff(head) is None or isinstance(sniff(head), str)
