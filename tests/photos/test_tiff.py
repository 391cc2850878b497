"""TIFFs: the right pixels, as an independent reader has them, or `unsupported`; never noise."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

from bench.faults.encodings import tiff
from inspector.model.preprocess import PreprocessSpec
from inspector.types import Failure, FailureCode
from tests.photos.files import difference, encoded, failure, photo, surface

SIDE = 48
WHOLE = PreprocessSpec(size=SIDE)
RGB = np.asarray(surface(SIDE, SIDE))
CHANNELS = np.concatenate([RGB, np.asarray(surface(SIDE, SIDE, 1))], axis=-1)
COLOURS = {"minisblack": 1, "miniswhite": 1, "rgb": 3, "separated": 4}
CASES = [
    (channels, bits, planar, compression)
    for channels in (1, 2, 3, 4, 5)
    for bits in (8, 16)
    for planar in ("contig", "separate")
    for compression in (None, "lzw", "deflate", "packbits", "jpeg", "zstd", "lzma")
    if channels > 1 or planar == "contig"
    if compression != "jpeg" or (bits == 8 and (planar == "separate" or channels < 4))
    if compression != "lzma" or channels == 3  # slow
]
LAYOUTS: tuple[dict[str, Any], ...] = ({"rowsperstrip": 20}, {"tile": (32, 16)})
FOUR = {("rgb", (0,)), ("rgb", (1,)), ("rgb", (2,)), ("separated", ())}
SUPPORTED = {
    (1, 8, "contig"): {("minisblack", ()), ("miniswhite", ())},
    (1, 16, "contig"): {("minisblack", ())},
    (2, 8, "contig"): {("minisblack", (first,)) for first in (0, 1, 2)},
    **{(3, bits, planar): {("rgb", ())} for bits in (8, 16) for planar in ("contig", "separate")},
    **{(4, bits, planar): FOUR for bits in (8, 16) for planar in ("contig", "separate")},
    (5, 8, "contig"): {("rgb", (first, 0)) for first in (0, 1, 2)},
    (5, 8, "separate"): {("rgb", (0, 0))},
    (5, 16, "separate"): {("rgb", (0, 0))},
}
"""Colours and extra samples by number of channels, bits and where the channels lie."""


def in_8_bit(values: np.ndarray) -> np.ndarray:
    """The high byte of each, which is what a row's pixels are made from."""
    return (values >> 8).astype(np.uint8) if values.dtype == np.uint16 else values


def as_rgb(values_HWC: np.ndarray, photometric: str, extra: tuple[int, ...]) -> np.ndarray:
    """What the documented conversion makes of channels (H, W, C) from an independent reader."""
    pixels = in_8_bit(values_HWC)
    colours = COLOURS[photometric]
    if photometric == "separated":
        ink = np.ascontiguousarray(pixels[..., :4])
        return np.asarray(Image.fromarray(ink, "CMYK").convert("RGB"))
    rgb = pixels[..., :colours].astype(float)
    if photometric == "miniswhite":
        rgb = 255 - rgb
    rgb = np.repeat(rgb, 3 // colours, axis=-1)
    if extra and extra[0] in (1, 2):
        alpha = pixels[..., colours : colours + 1] / 255
        rgb = (rgb if extra[0] == 1 else rgb * alpha) + 128 * (1 - alpha)
    return rgb


def made(channels: int, bits: int, photometric: str, extra: tuple[int, ...]) -> np.ndarray:
    """Channels (H, W, C) whose low bytes, if there are any, are noise."""
    pixels = CHANNELS[..., :channels].copy()
    colours = COLOURS[photometric]
    if extra and extra[0] == 1:  # premultiplied: no colour is above its alpha
        pixels[..., :colours] = pixels[..., :colours] * (pixels[..., colours : colours + 1] / 255)
    if bits == 8:
        return pixels
    low = np.random.default_rng(0).integers(0, 256, pixels.shape, dtype=np.uint16)
    return (pixels.astype(np.uint16) << 8) | low


def written(path, values_HWC: np.ndarray, planar: str, compression: str | None, **options: Any):
    channels = values_HWC.shape[-1]
    values = values_HWC if planar == "contig" else np.moveaxis(values_HWC, -1, 0)
    tifffile.imwrite(
        path,
        values_HWC[..., 0] if channels == 1 else np.ascontiguousarray(values),
        planarconfig=planar if channels > 1 else None,
        compression=compression,
        **options,
    )
    again = tifffile.imread(path)
    if channels == 1:
        return again[..., np.newaxis]
    return again if planar == "contig" else np.moveaxis(again, 0, -1)


def kinds(channels: int) -> list[tuple[str, tuple[int, ...]]]:
    """Photometric interpretations and extra samples of so many channels."""
    names = ["miniswhite"] * (channels == 1) + ["minisblack"] + ["rgb"] * (channels >= 3)
    names += ["separated"] * (channels >= 4)
    return [
        (name, (first,) + (0,) * (extra - 1) if extra else ())
        for name in names
        for extra in (channels - COLOURS[name],)
        for first in ((0, 1, 2) if extra else (0,))
    ]


@pytest.mark.parametrize(("channels", "bits", "planar", "compression"), CASES)
def test_a_tiff_has_the_right_pixels_or_is_unsupported(
    channels, bits, planar, compression, decode_bytes, tmp_path
):
    path = tmp_path / "made.tif"
    supported = set()
    for photometric, extra in kinds(channels):
        values = made(channels, bits, photometric, extra)
        for order, layout in itertools.product("<>", LAYOUTS):
            options: dict[str, Any] = {"photometric": photometric, "byteorder": order, **layout}
            if compression in ("lzw", "deflate", "zstd") and order == ">":
                options["predictor"] = 2
            options["extrasamples"] = extra or None
            read = written(path, values, planar, compression, **options)
            outcome = decode_bytes(path.read_bytes(), WHOLE)
            case = (photometric, extra, order, layout)
            if isinstance(outcome, Failure):
                assert outcome.code is FailureCode.UNSUPPORTED, (case, outcome.detail)
                assert f"{bits} bit" in outcome.detail, case
                continue
            supported.add((photometric, extra))
            right = as_rgb(read, photometric, extra)
            off = np.abs(photo(outcome, WHOLE).pixels_HWC - right)
            # Premultiplied colours are divided by an alpha that may be small.
            assert off.mean() < 1 if extra[:1] == (1,) else off.max() <= 1.01, case
    assert supported == SUPPORTED.get((channels, bits, planar), set())


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("photometric", ["minisblack", "miniswhite"])
@pytest.mark.parametrize("bits", [1, 2, 4])
def test_narrow_grey(bits, photometric, order, decode_bytes, tmp_path):
    path = tmp_path / "made.tif"
    values = CHANNELS[..., 0] >> (8 - bits)
    tifffile.imwrite(
        path,
        values.astype(bool) if bits == 1 else values,
        photometric=photometric,
        bitspersample=bits,
        byteorder=order,
    )
    grey = values.astype(int) * 255 // (2**bits - 1)
    right = grey if photometric == "minisblack" else 255 - grey
    pixels = photo(decode_bytes(path.read_bytes(), WHOLE), WHOLE).pixels_HWC
    assert np.array_equal(pixels, np.repeat(right[..., np.newaxis], 3, axis=-1))


def test_a_palette(decode_bytes, tmp_path):
    path = tmp_path / "made.tif"
    colours = np.random.default_rng(0).integers(0, 65536, (3, 256), dtype=np.uint16)
    tifffile.imwrite(path, CHANNELS[..., 0], photometric="palette", colormap=colours)
    pixels = photo(decode_bytes(path.read_bytes(), WHOLE), WHOLE).pixels_HWC
    assert np.array_equal(pixels, in_8_bit(colours).T[CHANNELS[..., 0]])


@pytest.mark.parametrize("form", ["group3", "group4", "tiff_ccitt"])
def test_fax(form, decode_bytes):
    image = surface(SIDE, SIDE).convert("1")
    data = encoded(image, "TIFF", compression=form)
    pixels = photo(decode_bytes(data, WHOLE), WHOLE).pixels_HWC
    assert np.array_equal(pixels, np.asarray(image.convert("RGB")))


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "CMYK", "YCbCr"])
def test_jpeg_of_three_and_four_channels(mode, decode_bytes, tmp_path):
    path = tmp_path / "made.tif"
    image = surface(SIDE, SIDE).convert(mode)
    if mode == "RGBA":
        image.putalpha(surface(SIDE, SIDE, 1).convert("L"))
    image.save(path, "TIFF", compression="jpeg", quality=95)
    read = tifffile.imread(path)
    extra = (2,) if mode == "RGBA" else ()
    right = as_rgb(read, "separated" if mode == "CMYK" else "rgb", extra)
    pixels = photo(decode_bytes(path.read_bytes(), WHOLE), WHOLE).pixels_HWC
    assert np.abs(pixels - right).max() <= 1.01


def with_halved_chroma(tail: bytes = b"") -> bytes:
    """Uncompressed YCbCr as in TIFF 6.0, section 21: two luminances, then both colours."""
    ycc = np.asarray(Image.fromarray(RGB).convert("YCbCr"))
    pairs = [ycc[..., 0].reshape(SIDE, SIDE // 2, 2), ycc[:, ::2, 1:2], ycc[:, ::2, 2:3]]
    units = np.concatenate(pairs, axis=-1)
    strips = [units[top : top + 16].tobytes() for top in range(0, SIDE, 16)]
    return tiff(RGB, {262: (6,), 278: (16,), 530: (2, 1)}, strips=strips) + tail


@pytest.mark.parametrize("tail", [b"", bytes(SIDE * 16)], ids=["alone", "with bytes behind it"])
def test_uncompressed_colours_of_half_the_width(tail, decode_bytes):
    pixels = photo(decode_bytes(with_halved_chroma(tail), WHOLE), WHOLE).pixels_HWC
    assert difference(pixels, RGB) < 6


TILES = b"".join(
    RGB[top : top + 16, left : left + 16].tobytes()
    for top in range(0, SIDE, 16)
    for left in range(0, SIDE, 16)
)
"""The photo in tiles of 16 x 16."""


def in_tiles_under_strip_tags() -> bytes:
    tiles = [TILES[at : at + 768] for at in range(0, len(TILES), 768)]
    return tiff(RGB, {322: (16,), 323: (16,), 278: None}, strips=tiles)


SOUND = {
    "BigTIFF": tiff(RGB, big=True),
    "BigTIFF, high bytes first": tiff(RGB, big=True, order=">"),
    "tiles under the tags of strips": in_tiles_under_strip_tags(),
    "a smaller picture below": tiff(RGB, {330: (8,)}),
    "high bytes first": tiff(RGB, order=">"),
}


@pytest.mark.parametrize("name", SOUND)
def test_a_sound_tiff_of_another_build(name, decode_bytes):
    pixels = photo(decode_bytes(SOUND[name], WHOLE), WHOLE).pixels_HWC
    assert np.array_equal(pixels, RGB)


def with_larger_picture_below() -> bytes:
    """A directory for 96 x 96 pixels, which the first one names as its SubIFD."""
    larger = tiff(np.zeros((96, 96, 1), np.uint8))
    at = int.from_bytes(larger[4:8], "little")
    data = tiff(RGB, {330: (1 << 20,)})
    return (
        data.replace((1 << 20).to_bytes(4, "little"), len(data).to_bytes(4, "little")) + larger[at:]
    )


GREY = RGB[..., :1]
UNSUPPORTED = {
    "no photometric": (tiff(GREY, {262: None}), "does not say what its numbers mean"),
    "a preview": (tiff(RGB, {254: (1,)}), "only a smaller version"),
    "a larger picture below": (with_larger_picture_below(), "only a smaller version"),
    "WebP": (tiff(RGB, {259: (50001,)}), "8 bit RGB, WebP"),
    "WebP in BigTIFF": (tiff(RGB, {259: (50001,)}, big=True), "8 bit RGB, WebP"),
    "old JPEG": (tiff(RGB, {259: (6,)}), "8 bit RGB, old-style JPEG"),
    "unknown packing": (tiff(RGB, {259: (12345,)}), "compression 12345"),
    "signed": (tiff(GREY, {339: (2,)}), "signed 8 bit grey"),
    "floating point": (tiff(GREY, {258: (32,), 339: (3,)}), "floating-point 32 bit grey"),
    "12 bit": (tiff(GREY, {258: (12,)}), "12 bit grey"),
    "bits reversed": (tiff(GREY, {266: (2,)}), "reversed bits"),
    "unequal channels": (tiff(RGB, {258: (5, 6, 5)}), "5 and 6 bit RGB"),
    "a fourth channel without a name": (tiff(CHANNELS[..., :4]), "8 bit RGB, 4 channels"),
    "grey with four channels": (
        tiff(CHANNELS[..., :4], {262: (1,), 338: (0, 0, 0)}),
        "8 bit grey, 4 channels",
    ),
    "white is zero": (tiff(GREY.astype(np.uint16), {262: (0,)}), "16 bit grey with white as zero"),
    "inks that are not CMYK": (
        tiff(CHANNELS[..., :4], {262: (5,), 332: (2,)}),
        "8 bit CMYK, other inks",
    ),
}


@pytest.mark.parametrize("name", UNSUPPORTED)
def test_another_kind_of_tiff_is_named(name, decode_bytes):
    data, words = UNSUPPORTED[name]
    assert words in failure(decode_bytes(data), FailureCode.UNSUPPORTED).detail


PLANES = [np.ascontiguousarray(RGB[..., channel]).tobytes() for channel in range(3)]
MISSING = {
    "two of three channels": tiff(RGB, {284: (2,)}, strips=PLANES[:1]),
    "two of three strips": tiff(RGB, {278: (16,)}),
    "a sparse file": tiff(RGB, {278: (24,), 273: (0, 8), 279: (0, 3456)}),
}


@pytest.mark.parametrize("name", MISSING)
def test_pixels_that_are_not_there(name, decode_bytes):
    detail = failure(decode_bytes(MISSING[name]), FailureCode.TRUNCATED).detail
    assert "strips or tiles are missing" in detail


@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize("tiled", [False, True])
def test_a_lost_sector_of_a_jpeg_within_a_tiff_is_noticed(mode, tiled, decode_bytes, tmp_path):
    path = tmp_path / "made.tif"
    pixels = np.asarray(surface(256, 256).convert(mode)).copy()
    pixels ^= np.random.default_rng(0).integers(0, 16, pixels.shape, dtype=np.uint8)
    layout: dict[str, Any] = {"tile": (128, 128)} if tiled else {"rowsperstrip": 64}
    tifffile.imwrite(path, pixels, compression="jpeg", **layout)
    data = path.read_bytes()
    photo(decode_bytes(data))
    for middle in range(len(data) // 4, len(data) * 3 // 4, len(data) // 12):
        lost = data[:middle] + bytes(512) + data[middle + 512 :]
        failure(decode_bytes(lost), FailureCode.CORRUPT)
