"""Photos as they are shown: upright, whole, of any kind, and never at the server's expense."""

from __future__ import annotations

import hashlib
import os
import signal
import time
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from bench.faults.negatives import dng
from inspector.photos import pictures, raw, reading, tiff_windows
from inspector.photos.opened import DecodeLimits
from inspector.photos.pictures import (
    SCREEN_SIDE,
    CannotShowError,
    open_full,
    region,
    screen,
)
from inspector.photos.reading import read
from inspector.types import Failure, ImageRef
from inspector.workers.process import HelperError, Helpers
from tests.scanning.walls import wall


@pytest.fixture(autouse=True)
def pillow_as_it_was(monkeypatch):
    """What the helper process changes in Pillow for good."""
    from PIL import ImageFile

    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", False)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", Image.MAX_IMAGE_PIXELS)


def opened(picture):
    return Image.open(BytesIO(picture.content))


def test_a_turned_photo_is_shown_upright(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    photo = wall(1, 2400, 1200)
    photo.save(tmp_path / "turned.jpg", exif=exif, quality=95)
    picture = screen(str(tmp_path / "turned.jpg"))
    assert (picture.width, picture.height) == (1200, 2400)
    shown = opened(picture)
    assert shown.size == (SCREEN_SIDE // 2, SCREEN_SIDE)
    upright = photo.transpose(Image.Transpose.ROTATE_270).resize(shown.size)
    off = np.abs(np.asarray(shown, int) - np.asarray(upright, int)).mean()
    assert off < 3
    data = (tmp_path / "turned.jpg").read_bytes()
    assert picture.content_hash == hashlib.sha256(data).hexdigest()
    part = opened(region(str(tmp_path / "turned.jpg"), (0.5, 0.25, 1, 0.75), 4000))
    assert part.size == (600, 1200)
    expected = photo.transpose(Image.Transpose.ROTATE_270).crop((600, 600, 1200, 1800))
    assert np.abs(np.asarray(part, int) - np.asarray(expected, int)).mean() < 3


def test_every_pixel_is_there_where_it_is_asked_for(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    wall(1, 2400, 1200).save(tmp_path / "turned.png", exif=exif)
    opened_full = open_full(str(tmp_path / "turned.png"))
    expected = wall(1, 2400, 1200).transpose(Image.Transpose.ROTATE_270)
    assert np.array_equal(np.asarray(opened_full.image), np.asarray(expected))
    assert (opened_full.width, opened_full.height) == (1200, 2400)


def test_a_small_photo_keeps_every_pixel(tmp_path):
    wall(2).save(tmp_path / "small.png")
    picture = screen(str(tmp_path / "small.png"))
    assert picture.media_type == "image/png"
    assert np.array_equal(np.asarray(opened(picture)), np.asarray(wall(2)))


def test_regions_stay_inside_and_follow_the_file(tmp_path):
    file = tmp_path / "a.png"
    wall(3, 800, 600).save(file)
    assert opened(region(str(file), (-1, -1, 9, 9), 200)).size == (200, 150)
    assert opened(region(str(file), (1, 1, 1, 1), 200)).size == (1, 1)
    wall(4, 400, 600).save(file)
    assert region(str(file), (0, 0, 1, 1), 900).width == 400


def test_what_there_is_of_a_damaged_photo_is_shown(tmp_path):
    wall(5, 600, 600).save(tmp_path / "whole.jpg", quality=95)
    data = (tmp_path / "whole.jpg").read_bytes()
    (tmp_path / "cut.jpg").write_bytes(data[: len(data) // 2])
    assert screen(str(tmp_path / "cut.jpg")).width == 600


@pytest.mark.parametrize("mode", ["I;16", "F", "I", "RGBA", "P", "LA", "CMYK", "1", "LAB"])
def test_every_pixel_type_can_be_looked_at(tmp_path, mode):
    values = np.arange(64 * 64).reshape(64, 64)
    if mode == "I;16":
        image = Image.fromarray((values * 16).astype(np.uint16))
    elif mode in ("F", "I"):
        kind = np.float32 if mode == "F" else np.int32
        image = Image.fromarray(values.astype(kind))
    elif mode == "LAB":
        image = Image.new("LAB", (64, 64))
    else:
        image = wall(6, 64, 64).convert("L" if mode == "LA" else "RGB").convert(mode)
    image.save(tmp_path / "a.tif")
    assert opened(screen(str(tmp_path / "a.tif"))).mode == "RGB"


def test_what_is_no_photo_is_said(tmp_path):
    (tmp_path / "text.jpg").write_bytes(b"hello")
    with pytest.raises(CannotShowError):
        screen(str(tmp_path / "text.jpg"))
    with pytest.raises(CannotShowError, match="vanished"):
        screen(str(tmp_path / "none.jpg"))


def answer(what):
    if what == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    if what == "hang":
        time.sleep(60)
    if what == "fail":
        raise ValueError("no such thing")
    return os.getpid()


def test_a_helper_outlives_what_ends_its_process():
    helper = Helpers(answer, seconds=20)
    try:
        first = helper.ask("who")
        assert first != os.getpid()
        with pytest.raises(HelperError, match="no such thing"):
            helper.ask("fail")
        assert helper.ask("who") == first
        with pytest.raises(HelperError, match="ended the process"):
            helper.ask("die")
        second = helper.ask("who")
        assert second != first
        helper._seconds = 0.3
        with pytest.raises(HelperError, match="longer than"):
            helper.ask("hang")
    finally:
        helper.close()


def test_a_large_tiff_of_a_kind_that_is_not_read_is_shown(tmp_path, monkeypatch):
    """Its bytes stay in the file, which is closed when it has been decoded."""
    monkeypatch.setattr(reading, "_MOST_HELD_BYTES", 100)
    Image.fromarray(np.arange(4096, dtype=np.float32).reshape(64, 64)).save(tmp_path / "a.tif")
    assert screen(str(tmp_path / "a.tif")).width == 64


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.tif", "a.dng"])
def test_a_photo_beyond_the_limit_is_not_decoded(tmp_path, monkeypatch, name):
    limits = DecodeLimits(max_pixels=64 * 64 - 1 if name.endswith(".dng") else 64 * 32 - 1)
    monkeypatch.setattr(pictures, "LIMITS", limits)
    monkeypatch.setattr(pictures, "_rgb", lambda _: pytest.fail("decoded"))
    monkeypatch.setattr(raw, "read_pixels", lambda _: pytest.fail("decoded"))
    monkeypatch.setattr(tiff_windows, "read_pixels", lambda _: pytest.fail("decoded"))
    if name.endswith(".dng"):
        pytest.importorskip("rawpy", reason="the extra `raw` is not installed")
        pixels = np.asarray(wall(1, 64, 64))
        data = dng(pixels[:16, :16], preview=pixels, compression="jpegxl")
        (tmp_path / name).write_bytes(data)
    else:
        wall(1, 64, 64).save(tmp_path / name)
    with pytest.raises(CannotShowError, match=r"too many pixels|more pixels|too large"):
        screen(str(tmp_path / name))
    assert (limits.max_pixels + 1) // 2 == Image.MAX_IMAGE_PIXELS


def test_a_photo_beyond_the_limits_of_a_scan_is_shown(tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    Image.new("1", (20_000, 10_000)).save(tmp_path / "wide.tif", compression="group4")
    with (tmp_path / "wide.tif").open("ab") as file:
        file.truncate((1 << 30) + 1)
    monkeypatch.setattr(reading, "sha256_of", lambda _: b"")
    assert isinstance(read(ImageRef.of(str(tmp_path / "wide.tif")), DecodeLimits()), Failure)
    assert screen(str(tmp_path / "wide.tif")).width == 20_000
