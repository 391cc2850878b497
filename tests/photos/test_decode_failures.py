"""What cannot be judged: a failure with the right code; never an exception, never half a photo."""

from __future__ import annotations

import hashlib
import os
import socket
import struct
import subprocess
import sys
import time
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, TiffImagePlugin

from bench.faults.encodings import (
    ARITHMETIC_JPEG,
    png,
    tiff,
    with_jpeg_segment,
    with_png_chunk,
    with_tiff_fields,
)
from inspector.photos.decode import is_whole
from inspector.photos.formats import MAGIC_BYTES
from inspector.types import Decoded, Failure, FailureCode
from tests.photos.files import decode_path, encoded, failure, photo, png_chunk, surface

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
    "half an AVIF": (encoded(surface(64, 64), "AVIF")[:500], FailureCode.TRUNCATED),
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


def with_thumbnail(image: Image.Image) -> bytes:
    """A JPEG whose EXIF block holds a whole JPEG, with an end marker of its own."""
    small = encoded(image.resize((8, 8)), "JPEG")
    return with_jpeg_segment(encoded(image, "JPEG"), 0xE1, b"Exif\0\0" + bytes(20) + small)


def in_tiles(image: Image.Image) -> bytes:
    info = TiffImagePlugin.ImageFileDirectory_v2()
    info[322] = info[323] = 16
    return encoded(image, "TIFF", compression="tiff_lzw", tiffinfo=info)


SMALL = surface(14, 12)
NEXT = [surface(14, 12, 1)]
EVERY_BYTE: dict[str, bytes] = {
    "JPEG": encoded(SMALL, "JPEG"),
    "JPEG that is cropped": encoded(surface(32, 32), "JPEG"),
    "JPEG progressive": encoded(SMALL, "JPEG", progressive=True),
    "JPEG with restarts": encoded(surface(32, 32), "JPEG", restart_marker_blocks=1),
    "JPEG with a thumbnail": with_thumbnail(SMALL),
    "JPEG CMYK": encoded(SMALL.convert("CMYK"), "JPEG"),
    "JPEG and more": encoded(SMALL, "JPEG") + b"trailing" * 3,
    "JPEG arithmetic": ARITHMETIC_JPEG,
    "MPO": encoded(SMALL, "MPO", save_all=True, append_images=NEXT),
    "PNG": encoded(SMALL, "PNG"),
    "PNG interlaced": png(np.asarray(SMALL), interlaced=True),
    "PNG 16 bit": png(np.asarray(SMALL).astype(np.uint16) * 257),
    "PNG palette": encoded(SMALL.quantize(8), "PNG", transparency=2),
    "WEBP": encoded(SMALL, "WEBP"),
    "WEBP lossless": encoded(SMALL, "WEBP", lossless=True),
    "WEBP alpha": encoded(SMALL.convert("RGBA").rotate(9, expand=True), "WEBP"),
    "WEBP moving": encoded(SMALL, "WEBP", save_all=True, append_images=NEXT),
    "GIF": encoded(SMALL, "GIF"),
    "GIF moving": encoded(SMALL, "GIF", save_all=True, append_images=NEXT),
    "BMP": encoded(SMALL, "BMP"),
    "TIFF": encoded(SMALL, "TIFF"),
    "TIFF lzw": encoded(SMALL, "TIFF", compression="tiff_lzw"),
    "TIFF deflate": encoded(SMALL, "TIFF", compression="tiff_adobe_deflate"),
    "TIFF jpeg": encoded(SMALL, "TIFF", compression="jpeg"),
    "TIFF tiles": in_tiles(SMALL),
    "TIFF big endian": tiff(np.asarray(SMALL), order=">"),
}


@pytest.mark.parametrize("form", EVERY_BYTE)
def test_a_cut_photo_fails_or_is_whole(form, decode_bytes):
    """Where the rest matters; where it does not, the pixels are all there."""
    data = EVERY_BYTE[form]
    whole = photo(decode_bytes(data))
    early = {FailureCode.EMPTY, FailureCode.NOT_AN_IMAGE}
    ends = {*range(MAGIC_BYTES), *range(len(data) - 2 * MAGIC_BYTES, len(data))}
    for length in sorted(ends | {*range(0, len(data), 1 + len(data) // 200)}):
        outcome = decode_bytes(data[:length])
        if isinstance(outcome, Failure):
            allowed = early if length < MAGIC_BYTES else set()
            assert outcome.code in allowed | {FailureCode.TRUNCATED}, (length, outcome)
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
    whole = bytearray(EVERY_BYTE[form])
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


def test_the_bound_on_pixels_may_lie_above_and_below_that_of_pillow(decode_bytes, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 500)  # Pillow refuses twice that
    for form in ("PNG", "JPEG", "WEBP", "GIF", "TIFF", "BMP"):
        data = encoded(surface(40, 30), form)
        failure(decode_bytes(data, max_pixels=1199), FailureCode.TOO_LARGE)
        photo(decode_bytes(data, max_pixels=1200))
    assert Image.MAX_IMAGE_PIXELS == 600


def test_of_a_moving_image_only_the_first_picture_is_looked_at(decode_bytes):
    frames = [surface(40, 30, seed) for seed in (1, 2)]
    data = encoded(surface(40, 30), "GIF", save_all=True, append_images=frames)
    first = photo(decode_bytes(data))
    second = data.index(b"\x21\xf9", data.index(b",", 781))
    garbled = data[:second] + b"\xff" * (len(data) - second - 1) + b";"
    assert np.array_equal(photo(decode_bytes(garbled)).pixels_HWC, first.pixels_HWC)


def test_metadata_that_unpack_without_end_cost_no_photo(decode_bytes):
    bomb = zlib.compress(bytes(8 << 20), 9)
    for kind, head in (
        (b"zTXt", b"Raw profile type exif\0\0"),
        (b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0"),
        (b"iCCP", b"a\0\0"),
    ):
        photo(decode_bytes(with_png_chunk(PHOTO_PNG, kind, head + bomb)))


def test_a_tiff_that_points_everywhere_costs_no_time(decode_bytes):
    """65,535 fields of as many values as the file has room for, in a file that does not decode."""
    fields = b"".join(struct.pack("<HHII", 270 + k % 9, 4, 200_000, 8) for k in range(65_535))
    directory = 8 + 800_000
    data = b"II*\0" + struct.pack("<I", directory) + bytes(800_000)
    data += struct.pack("<H", 65_535) + fields + bytes(4)
    started = time.monotonic()
    assert isinstance(decode_bytes(data), Failure)
    assert is_whole(data, "TIFF")
    assert time.monotonic() - started < 10


MEMORY = """
import resource, sys
from inspector.photos.decode import decode
from inspector.model.preprocess import PreprocessSpec
from inspector.types import ImageRef

spec = PreprocessSpec(size=32)
small, large = (ImageRef(0, path, "", None, None) for path in sys.argv[1:])
decode(small, spec)
in_use = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (in_use + (64 << 20), -1))
print(decode(large, spec).code, hasattr(decode(small, spec), "pixels_HWC"))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="measures memory by /proc")
def test_a_photo_for_which_memory_runs_out(tmp_path):
    (tmp_path / "small.png").write_bytes(PHOTO_PNG)
    Image.new("1", (11_000, 11_000)).save(tmp_path / "large.png", compress_level=1)
    run = subprocess.run(
        [sys.executable, "-c", MEMORY, tmp_path / "small.png", tmp_path / "large.png"],
        capture_output=True,
        text=True,
    )
    assert run.stdout == "too_large True\n", run.stderr


KINDS = {
    "no width": (with_tiff_fields(encoded(SMALL, "TIFF"), {256: 0}), FailureCode.CORRUPT),
    "no such packing": (
        with_tiff_fields(encoded(SMALL, "TIFF"), {259: 12345}),
        FailureCode.UNSUPPORTED,
    ),
    "packing that may not be built in": (
        with_tiff_fields(encoded(SMALL, "TIFF"), {259: 50001}),
        FailureCode.UNSUPPORTED,
    ),
    "bad packing": (
        with_tiff_fields(encoded(SMALL, "TIFF"), {259: 8}),
        FailureCode.CORRUPT,
    ),
}


@pytest.mark.parametrize("name", KINDS)
def test_what_is_rare_and_what_is_broken(name, decode_bytes):
    data, code = KINDS[name]
    failure(decode_bytes(data), code)


def test_a_large_image_is_refused_before_it_is_decoded(decode_bytes, monkeypatch):
    def explode(*_):
        raise AssertionError("decoded")

    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", explode)
    failure(decode_bytes(png_header(14_000, 14_000) + PHOTO_PNG[33:]), FailureCode.TOO_LARGE)
