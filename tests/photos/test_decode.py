"""What a photo becomes: the right pixels, upright, whatever the format and pixel type."""

from __future__ import annotations

import hashlib
from datetime import datetime
from typing import Any

import numpy as np
import pytest
from PIL import Image
from PIL.Image import Transpose

from inspector.model.preprocess import PreprocessSpec
from inspector.photos.formats import PLAIN
from tests.photos.files import (
    ORIENTATION,
    SPEC,
    decode_path,
    difference,
    encoded,
    photo,
    png_chunk,
    surface,
)
from tests.photos.turned import TURNS

# --- the formats that work -------------------------------------------------------------------


LOSSLESS: dict[str, dict[str, Any]] = {
    "PNG": {},
    "BMP": {},
    "WEBP": {"lossless": True},
    "TIFF": {},
    "TIFF lzw": {"compression": "tiff_lzw"},
    "TIFF deflate": {"compression": "tiff_adobe_deflate"},
}


@pytest.mark.parametrize("form", LOSSLESS)
def test_lossless_formats_give_the_very_pixels(form, decode_bytes):
    image = surface(32, 32)
    outcome = photo(decode_bytes(encoded(image, form.split()[0], **LOSSLESS[form])))
    assert np.array_equal(outcome.pixels_HWC, np.asarray(image))
    assert outcome.facts.format == form.split()[0]
    assert outcome.shrink == 1.0


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"subsampling": 0}], ids=str)
def test_jpeg(options, decode_bytes):
    image = surface(32, 32)
    outcome = photo(decode_bytes(encoded(image, "JPEG", quality=95, **options)))
    assert difference(outcome.pixels_HWC, np.asarray(image)) < 6


def test_the_name_does_not_decide(tmp_path):
    path = tmp_path / "really_a_png.jpg"
    path.write_bytes(encoded(surface(32, 32), "PNG"))
    assert photo(decode_path(path)).facts.format == "PNG"


def test_facts_and_hash_of_a_photo(decode_bytes):
    data = encoded(surface(90, 40), "PNG")
    outcome = photo(decode_bytes(data))
    assert (outcome.facts.width, outcome.facts.height) == (90, 40)
    assert outcome.facts.content_hash == hashlib.sha256(data).hexdigest()
    assert outcome.shrink == 90 / 32


def test_mpo_is_its_first_picture(decode_bytes):
    first, second = surface(48, 48, 1), surface(48, 48, 2)
    data = encoded(first, "MPO", save_all=True, append_images=[second])
    outcome = photo(decode_bytes(data))
    alone = photo(decode_bytes(encoded(first, "JPEG")))
    assert outcome.facts.format == "MPO"
    assert difference(outcome.pixels_HWC, alone.pixels_HWC) < 1


@pytest.mark.parametrize("form", ["GIF", "WEBP", "PNG", "TIFF"])
def test_animations_are_their_first_frame(form, decode_bytes):
    frames = [Image.new("RGB", (40, 40), colour) for colour in ("white", "black", "black")]
    data = encoded(frames[0], form, save_all=True, append_images=frames[1:])
    assert photo(decode_bytes(data)).pixels_HWC.min() > 250


# --- the pixel types that work ---------------------------------------------------------------


@pytest.mark.parametrize("mode", ["1", "L", "P"])
@pytest.mark.parametrize("form", ["PNG", "TIFF", "BMP"])
def test_narrow_pixel_types(mode, form, decode_bytes):
    image = surface(32, 32).convert(mode)
    outcome = photo(decode_bytes(encoded(image, form)))
    assert np.array_equal(outcome.pixels_HWC, np.asarray(image.convert("RGB")))


def test_grey_jpeg(decode_bytes):
    outcome = photo(decode_bytes(encoded(Image.new("L", (40, 40), 77), "JPEG")))
    assert difference(outcome.pixels_HWC, np.full((32, 32, 3), 77)) < 1


@pytest.mark.parametrize("form", ["JPEG", "TIFF"])
def test_cmyk_is_not_inverted(form, decode_bytes):
    image = Image.new("CMYK", (40, 40), (0, 255, 255, 0))
    red, green, blue = photo(decode_bytes(encoded(image, form))).pixels_HWC.mean(axis=(0, 1))
    assert red > 200
    assert green < 60
    assert blue < 60


SIXTEEN_BIT = {
    "PNG": "<u2",
    "TIFF": "<u2",
    "TIFF big-endian": ">u2",
}


@pytest.mark.parametrize("form", SIXTEEN_BIT)
def test_16_bit_grey_keeps_its_high_byte(form, decode_bytes):
    values = np.linspace(0, 65535, 32 * 32).astype(np.uint16).reshape(32, 32)
    image = Image.fromarray(values.astype(SIXTEEN_BIT[form]))
    outcome = photo(decode_bytes(encoded(image, form.split()[0])))
    assert np.array_equal(outcome.pixels_HWC[..., 0], values >> 8)


def test_dark_16_bit_stays_dark(decode_bytes):
    values = np.full((32, 32), 1000, dtype=np.uint16)
    assert photo(decode_bytes(encoded(Image.fromarray(values), "PNG"))).pixels_HWC.max() == 3


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_transparency_shows_mid_grey(mode, decode_bytes):
    if mode == "P":
        image = Image.new("P", (32, 32), 1)
        image.putpalette([0, 0, 0, 255, 255, 255])
        data = encoded(image, "PNG", transparency=1)
    else:
        data = encoded(Image.new(mode, (32, 32)), "PNG")
    assert (photo(decode_bytes(data)).pixels_HWC == 128).all()


def test_opaque_pixels_of_an_alpha_photo_stay(decode_bytes):
    image = surface(32, 32)
    image.putalpha(255)
    outcome = photo(decode_bytes(encoded(image, "PNG")))
    assert np.array_equal(outcome.pixels_HWC, np.asarray(image.convert("RGB")))


# --- orientation and scaled decoding ---------------------------------------------------------


@pytest.mark.parametrize("orientation", TURNS)
@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "TIFF", "TIFF lzw"])
def test_every_orientation_comes_upright(form, orientation, decode_bytes):
    scene, turn = surface(120, 80), TURNS[orientation]
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    options: dict[str, Any] = {"quality": 95} if form == "JPEG" else LOSSLESS[form]
    stored = scene if turn is None else scene.transpose(turn)
    outcome = photo(decode_bytes(encoded(stored, form.split()[0], exif=exif, **options)))
    upright = np.asarray(scene.resize((32, 32), Image.Resampling.BILINEAR))
    assert difference(outcome.pixels_HWC, upright) < 2
    assert (outcome.facts.width, outcome.facts.height) == (120, 80)


def test_orientation_behind_the_pixels_of_a_png(decode_bytes):
    scene = surface(120, 80)
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    data = encoded(scene.transpose(Transpose.ROTATE_90), "PNG")
    chunk = png_chunk(b"eXIf", exif.tobytes().removeprefix(b"Exif\0\0"))
    outcome = photo(decode_bytes(data[:-12] + chunk + data[-12:]))
    upright = np.asarray(scene.resize((32, 32), Image.Resampling.BILINEAR))
    assert difference(outcome.pixels_HWC, upright) < 2
    assert (outcome.facts.width, outcome.facts.height) == (120, 80)


def test_a_scaled_decode_looks_like_the_full_one(decode_bytes):
    image = surface(1600, 1200)
    data = encoded(image, "JPEG", quality=95)
    full = PreprocessSpec(size=32, decode_margin=1000)
    fast, slow = decode_bytes(data), decode_bytes(data, full)
    assert difference(photo(fast).pixels_HWC, photo(slow).pixels_HWC) < 1.5
    assert (photo(fast).facts.width, photo(fast).facts.height) == (1600, 1200)
    assert photo(fast).shrink == 50


@pytest.mark.parametrize("sides", [(64, 64), (127, 511), (128, 128), (1025, 130)])
def test_a_scaled_decode_is_never_smaller_than_asked(sides, decode_bytes, monkeypatch):
    seen = []

    def watched_fit(image, spec):
        seen.append(image.size)
        return image

    monkeypatch.setattr("inspector.photos.decode.fit", watched_fit)
    decode_bytes(encoded(surface(*sides), "JPEG"))
    ((width, height),) = seen
    assert min(width, height) >= min(SPEC.decode_side, *sides)


def test_every_openable_format_has_an_opener():
    Image.init()
    assert set(PLAIN) <= set(Image.OPEN)


def test_taken_at_reaches_the_row(decode_bytes):
    exif = Image.Exif()
    exif[0x0132] = "2024:05:06 07:08:09"
    facts = photo(decode_bytes(encoded(surface(40, 40), "JPEG", exif=exif))).facts
    assert facts.taken_at == datetime(2024, 5, 6, 7, 8, 9)
