"""HEIC and AVIF: upright, with their facts, or a typed failure; the same whoever turned them."""

from __future__ import annotations

import struct
from datetime import datetime

import numpy as np
import pytest
from PIL import Image, ImageOps

from inspector.photos import iso_media
from inspector.types import FailureCode
from tests.photos.files import ORIENTATION, SPEC, decode_path, difference, failure, photo, surface

SIDES = (96, 64)


@pytest.fixture(params=["HEIF", "AVIF"])
def form(request):
    if request.param == "HEIF":
        pytest.importorskip("pillow_heif", reason="the extra `heif` is not installed")
        iso_media._use_one_thread()
    return request.param


def saved(path, image: Image.Image, form: str, **options):
    image.save(path, form, quality=95, **options)
    return path


def exif(orientation: int = 1) -> bytes:
    block = Image.Exif()
    block[ORIENTATION] = orientation
    block[0x010F], block[0x0110] = "Apple", "iPhone 15"
    block.get_ifd(0x8769)[0x9003] = "2026:01:02 03:04:05"
    gps = block.get_ifd(0x8825)
    gps.update({1: "N", 2: (52.0, 30.0, 0.0), 3: "E", 4: (13.0, 15.0, 0.0)})
    return block.tobytes()


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_is_applied_once(form, orientation, tmp_path):
    image = surface(*SIDES)
    path = saved(tmp_path / "phone.bin", image, form, exif=exif(orientation))
    image.getexif()[ORIENTATION] = orientation
    upright = ImageOps.exif_transpose(image)
    outcome = photo(decode_path(path))
    assert (outcome.facts.width, outcome.facts.height) == upright.size
    right = upright.resize((SPEC.size, SPEC.size), Image.Resampling.BILINEAR)
    assert difference(outcome.pixels_HWC, np.asarray(right)) < 4


def test_facts(form, tmp_path):
    facts = photo(decode_path(saved(tmp_path / "a.heic", surface(*SIDES), form, exif=exif()))).facts
    assert (facts.format, facts.camera) == (form, "Apple iPhone 15")
    assert facts.taken_at == datetime(2026, 1, 2, 3, 4, 5)
    assert (facts.gps_lat, facts.gps_lon) == (52.5, 13.25)


def test_transparency_is_grey(form, tmp_path):
    image = surface(*SIDES).convert("RGBA")
    image.putalpha(0)
    pixels = photo(decode_path(saved(tmp_path / "a.heic", image, form))).pixels_HWC
    assert np.abs(pixels.astype(int) - 128).max() <= 2


def test_ten_bits(tmp_path):
    pillow_heif = pytest.importorskip("pillow_heif", reason="the extra `heif` is not installed")
    rgb = np.asarray(surface(*SIDES))
    file = pillow_heif.from_bytes("RGB;16", SIDES, (rgb.astype(np.uint16) << 8).tobytes())
    file.save(tmp_path / "a.heic", quality=95)
    pixels = photo(decode_path(tmp_path / "a.heic")).pixels_HWC
    right = Image.fromarray(rgb).resize((SPEC.size, SPEC.size), Image.Resampling.BILINEAR)
    assert difference(pixels, np.asarray(right)) < 4


@pytest.mark.parametrize("primary", [0, 1, 2])
def test_of_several_photos_the_primary_one_counts(primary, tmp_path):
    pillow_heif = pytest.importorskip("pillow_heif", reason="the extra `heif` is not installed")
    file = pillow_heif.HeifFile()
    for grey in (40, 120, 200):
        file.add_from_pillow(Image.new("RGB", SIDES, (grey,) * 3))
    file.save(tmp_path / "burst.heic", primary_index=primary)
    pixels = photo(decode_path(tmp_path / "burst.heic")).pixels_HWC
    assert abs(pixels.mean() - (40, 120, 200)[primary]) < 3


def test_of_a_sequence_the_first_counts(tmp_path):
    frames = [Image.new("RGB", SIDES, (grey,) * 3) for grey in (40, 120, 200)]
    frames[0].save(tmp_path / "a.avif", "AVIF", save_all=True, append_images=frames[1:])
    assert abs(photo(decode_path(tmp_path / "a.avif")).pixels_HWC.mean() - 40) < 3


def test_a_cut_file_is_truncated(form, tmp_path):
    data = saved(tmp_path / "whole", surface(*SIDES), form, exif=exif()).read_bytes()
    assert iso_media.is_whole(data)
    for kept in [*range(16, len(data), len(data) // 40), len(data) - 1]:
        (tmp_path / "cut").write_bytes(data[:kept])
        failure(decode_path(tmp_path / "cut"), FailureCode.TRUNCATED)


def test_an_interrupted_copy_ends_in_zeros(form, tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (300, 400, 3), dtype=np.uint8)
    data = saved(tmp_path / "whole", Image.fromarray(noise), form).read_bytes()
    (tmp_path / "copy").write_bytes(data[:-6000] + bytes(6000))
    failure(decode_path(tmp_path / "copy"), FailureCode.TRUNCATED)


def test_any_damage_has_an_answer(form, tmp_path):
    data = saved(tmp_path / "whole", surface(*SIDES), form, exif=exif()).read_bytes()
    for at in range(8, len(data), max(len(data) // 150, 1)):
        damaged = bytearray(data)
        damaged[at] ^= 0xFF
        (tmp_path / "damaged").write_bytes(damaged)
        decode_path(tmp_path / "damaged")  # raises nothing


def with_size(data: bytes, width: int, height: int) -> bytes:
    """A file that says so of each of its pictures (ISO/IEC 23008-12, section 6.5.3)."""
    parts = data.split(b"ispe")
    size = bytes(4) + struct.pack(">II", width, height)
    return b"ispe".join([parts[0], *(size + part[12:] for part in parts[1:])])


@pytest.mark.parametrize("sides", [(131_071, 131_071), (2**31 - 1, 1), (40_000, 40_000)])
def test_a_lie_about_the_size(form, sides, tmp_path):
    data = saved(tmp_path / "whole", surface(*SIDES), form).read_bytes()
    (tmp_path / "huge").write_bytes(with_size(data, *sides))
    outcome = decode_path(tmp_path / "huge")
    assert getattr(outcome, "code", None) in (
        FailureCode.TOO_LARGE,
        FailureCode.CORRUPT,
    ), outcome


def test_the_limit_of_pixels_holds(form, tmp_path):
    path = saved(tmp_path / "a.heic", surface(*SIDES), form)
    failure(decode_path(path, max_pixels=96 * 64 - 1), FailureCode.TOO_LARGE)
    photo(decode_path(path, max_pixels=96 * 64))


def test_a_picture_larger_than_its_header_says(tmp_path):
    pytest.importorskip("pillow_heif", reason="the extra `heif` is not installed")
    iso_media._use_one_thread()
    data = saved(tmp_path / "whole", surface(*SIDES), "HEIF").read_bytes()
    (tmp_path / "small").write_bytes(with_size(data, 16, 16))
    outcome = decode_path(tmp_path / "small", max_pixels=20 * 20)
    assert getattr(outcome, "code", None) in (FailureCode.TOO_LARGE, FailureCode.CORRUPT), outcome


def test_without_the_extra_the_row_names_it(without, tmp_path):
    without("pillow_heif")
    for brand in (b"heic", b"mif1"):
        path = tmp_path / "phone.heic"
        path.write_bytes(b"\0\0\0\x18ftyp" + brand + bytes(64))
        detail = failure(decode_path(path), FailureCode.UNSUPPORTED).detail
        assert detail == 'HEIC files need: pip install "crack-inspector[heif]"'
    photo(decode_path(saved(tmp_path / "a.avif", surface(*SIDES), "AVIF")))
