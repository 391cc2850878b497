"""What cannot be judged: a failure with the right code; never an exception, never half a photo."""

from __future__ import annotations

import hashlib
import os
import socket
import struct
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, TiffImagePlugin

from inspector.types import Decoded, Failure, FailureCode
from tests.data.files import decode_path, encoded, failure, photo, png_chunk, surface

# --- what cannot be judged --------------------------------------------------------------------


def png_header(width: int, height: int) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", header)


def tiff_with(image: Image.Image, **tags: int) -> bytes:
    numbers = {"subfile": 254, "photometric": 262}
    info = TiffImagePlugin.ImageFileDirectory_v2()
    for name, value in tags.items():
        info[numbers[name]] = value
    return encoded(image, "TIFF", tiffinfo=info)


PHOTO_PNG = encoded(surface(32, 32), "PNG")
BROKEN_BODY = png_header(32, 32) + png_chunk(b"IDAT", b"not zlib data") + PHOTO_PNG[-12:]
NO_TABLES = encoded(surface(32, 32), "JPEG").replace(b"\xff\xdb", b"\xff\xfe")
GREY_16 = Image.fromarray(np.zeros((8, 8), dtype=np.uint16))

CATALOGUE = {
    "nothing": (b"", FailureCode.EMPTY),
    "text": (b"camera 3, wall 12\n" * 9, FailureCode.NOT_AN_IMAGE),
    "web page": (b"<!DOCTYPE html><html>404</html>", FailureCode.NOT_AN_IMAGE),
    "zeros": (bytes(4096), FailureCode.NOT_AN_IMAGE),
    "pdf": (b"%PDF-1.7\n", FailureCode.NOT_AN_IMAGE),
    "half a JPEG": (encoded(surface(64, 64), "JPEG")[:900], FailureCode.TRUNCATED),
    "half a PNG": (PHOTO_PNG[: len(PHOTO_PNG) // 2], FailureCode.TRUNCATED),
    "a PNG signature": (PHOTO_PNG[:8], FailureCode.TRUNCATED),
    "a broken PNG": (BROKEN_BODY, FailureCode.CORRUPT),
    "a JPEG without its tables": (NO_TABLES, FailureCode.CORRUPT),
    "float TIFF": (encoded(Image.new("F", (8, 8)), "TIFF"), FailureCode.UNSUPPORTED),
    "32-bit TIFF": (encoded(Image.new("I", (8, 8)), "TIFF"), FailureCode.UNSUPPORTED),
    "LAB TIFF": (encoded(Image.new("LAB", (8, 8)), "TIFF"), FailureCode.UNSUPPORTED),
    "raw preview": (tiff_with(surface(16, 12), subfile=1), FailureCode.UNSUPPORTED),
    "inverted 16-bit": (tiff_with(GREY_16, photometric=0), FailureCode.UNSUPPORTED),
    "HEIC": (b"\0\0\0\x18ftypheic" + bytes(64), FailureCode.UNSUPPORTED),
    "AVIF": (encoded(surface(16, 16), "AVIF"), FailureCode.UNSUPPORTED),
    "JPEG 2000": (b"\0\0\0\x0cjP  \r\n\x87\n" + bytes(64), FailureCode.UNSUPPORTED),
    "PSD": (b"8BPS\0\x01" + bytes(64), FailureCode.UNSUPPORTED),
    "bomb": (png_header(60_000, 60_000) + PHOTO_PNG[33:], FailureCode.TOO_LARGE),
}


@pytest.mark.parametrize("name", CATALOGUE)
def test_catalogue_of_bad_files(name, decode_bytes):
    data, code = CATALOGUE[name]
    facts = failure(decode_bytes(data), code).facts
    assert facts.content_hash == (hashlib.sha256(data).hexdigest() if data else None)


def test_a_failed_photo_still_tells_its_facts(decode_bytes):
    exif = Image.Exif()
    exif[0x010F] = "Maker"
    facts = failure(
        decode_bytes(encoded(surface(64, 48), "JPEG", exif=exif)[:-40]), FailureCode.TRUNCATED
    ).facts
    assert (facts.width, facts.height, facts.format, facts.camera) == (64, 48, "JPEG", "Maker")


def test_limits(decode_bytes):
    data = encoded(surface(40, 30), "PNG")
    failure(decode_bytes(data, max_pixels=40 * 30 - 1), FailureCode.TOO_LARGE)
    failure(decode_bytes(data, max_bytes=len(data) - 1), FailureCode.TOO_LARGE)
    photo(decode_bytes(data, max_pixels=40 * 30, max_bytes=len(data)))


EVERY_BYTE: dict[str, dict[str, Any]] = {
    "JPEG": {},
    "JPEG progressive": {"progressive": True},
    "PNG": {},
    "WEBP": {},
    "WEBP lossless": {"lossless": True},
    "GIF": {},
    "BMP": {},
    "TIFF": {},
    "TIFF lzw": {"compression": "tiff_lzw"},
}


@pytest.mark.parametrize("form", EVERY_BYTE)
def test_a_cut_photo_fails_or_is_whole(form, decode_bytes):
    data = encoded(surface(14, 12), form.split()[0], **EVERY_BYTE[form])
    whole = photo(decode_bytes(data))
    early = {FailureCode.EMPTY, FailureCode.NOT_AN_IMAGE, FailureCode.TRUNCATED}
    allowed = early if form.startswith(("JPEG", "PNG", "WEBP")) else early | {FailureCode.CORRUPT}
    for length in range(len(data)):
        outcome = decode_bytes(data[:length])
        if isinstance(outcome, Failure):
            assert outcome.code in allowed, (length, outcome)
        else:
            assert np.array_equal(outcome.pixels_HWC, whole.pixels_HWC), length


@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
@pytest.mark.parametrize("progressive", [False, True])
def test_a_tail_of_zeros_is_no_photo(share, progressive, decode_bytes):
    """What an interrupted copy leaves when the file was given its full size beforehand."""
    data = encoded(surface(300, 200), "JPEG", progressive=progressive)
    kept = round(len(data) * share)
    failure(decode_bytes(data[:kept] + bytes(len(data) - kept)), FailureCode.TRUNCATED)


MAGIC = [
    b"\xff\xd8\xff\xe0\x00\x10JFIF\x00",
    b"\xff\xd8\xff\xe1\x00\x40Exif\x00\x00II*\x00",
    b"\x89PNG\r\n\x1a\n",
    png_header(9, 9),
    b"RIFF\x20\x00\x00\x00WEBPVP8 ",
    b"RIFF\x20\x00\x00\x00WEBPVP8X",
    b"II*\x00\x08\x00\x00\x00",
    b"MM\x00*\x00\x00\x00\x08",
    b"II+\x00\x08\x00\x00\x00",
    b"BM\x40\x00\x00\x00\x00\x00\x00\x00\x36\x00\x00\x00\x28\x00\x00\x00",
    b"GIF89a\x05\x00\x05\x00\x80\x00\x00",
]


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(magic=st.sampled_from(MAGIC), rest=st.binary(max_size=200))
def test_noise_behind_a_signature_never_raises(magic, rest, decode_bytes):
    assert isinstance(decode_bytes(magic + rest), Decoded | Failure)


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data(), form=st.sampled_from(sorted(EVERY_BYTE)))
def test_flipped_bytes_never_raise(data, form, decode_bytes):
    whole = bytearray(encoded(surface(14, 12), form.split()[0], **EVERY_BYTE[form]))
    for place in data.draw(st.lists(st.integers(0, len(whole) - 1), min_size=1, max_size=6)):
        whole[place] = data.draw(st.integers(0, 255))
    assert isinstance(decode_bytes(bytes(whole)), Decoded | Failure)


# --- files that are not files -----------------------------------------------------------------


def test_missing_and_dangling(tmp_path):
    failure(decode_path(tmp_path / "gone.jpg"), FailureCode.VANISHED)
    failure(decode_path(tmp_path / "gone.jpg" / "below.jpg"), FailureCode.VANISHED)
    (tmp_path / "link.jpg").symlink_to(tmp_path / "nowhere.jpg")
    failure(decode_path(tmp_path / "link.jpg"), FailureCode.VANISHED)
    (tmp_path / "loop.jpg").symlink_to(tmp_path / "loop.jpg")
    failure(decode_path(tmp_path / "loop.jpg"), FailureCode.VANISHED)


def test_a_path_through_a_file_has_vanished(tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"x")
    failure(decode_path(tmp_path / "a.jpg" / "b.jpg"), FailureCode.VANISHED)


@pytest.mark.skipif(sys.platform == "win32", reason="no such files on Windows")
@pytest.mark.timeout(10)
def test_a_pipe_a_socket_and_a_device_do_not_block(tmp_path):
    os.mkfifo(tmp_path / "pipe.jpg")
    failure(decode_path(tmp_path / "pipe.jpg"), FailureCode.NOT_A_FILE)
    failure(decode_path(Path("/dev/zero")), FailureCode.NOT_A_FILE)
    before = Path.cwd()
    os.chdir(tmp_path)  # a socket's address is short
    try:
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind("socket.jpg")
            failure(decode_path(tmp_path / "socket.jpg"), FailureCode.NOT_A_FILE)
    finally:
        os.chdir(before)


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="counts open files by /proc")
def test_no_file_stays_open(tmp_path):
    (tmp_path / "folder.jpg").mkdir()
    (tmp_path / "text.jpg").write_bytes(b"text")
    (tmp_path / "photo.png").write_bytes(PHOTO_PNG)
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(5):
        failure(decode_path(tmp_path / "folder.jpg"), FailureCode.NOT_A_FILE)
        failure(decode_path(tmp_path / "text.jpg"), FailureCode.NOT_AN_IMAGE)
        photo(decode_path(tmp_path / "photo.png"))
    assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX permissions")
def test_a_forbidden_file(tmp_path):
    path = tmp_path / "secret.png"
    path.write_bytes(PHOTO_PNG)
    path.chmod(0)
    if os.geteuid():
        failure(decode_path(path), FailureCode.PERMISSION)
        return
    os.seteuid(65534)  # permissions do not hold for root
    try:
        outcome = decode_path(path)
    finally:
        os.seteuid(0)
    failure(outcome, FailureCode.PERMISSION)


@pytest.mark.skipif(not Path("/proc/self/mem").exists(), reason="needs a file that fails to read")
def test_a_file_that_fails_while_it_is_read():
    failure(decode_path(Path("/proc/self/mem")), FailureCode.IO_ERROR)


def test_names_that_are_not_utf8(tmp_path):
    name = os.fsdecode(os.fsencode(tmp_path) + b"/gr\xfcn.png")
    Path(name).write_bytes(PHOTO_PNG)
    photo(decode_path(Path(name)))


def test_a_large_image_is_refused_before_it_is_decoded(decode_bytes, monkeypatch):
    def explode(*_):
        raise AssertionError("decoded")

    monkeypatch.setattr("inspector.data.decode._load", explode)
    failure(decode_bytes(png_header(14_000, 14_000) + PHOTO_PNG[33:]), FailureCode.TOO_LARGE)
