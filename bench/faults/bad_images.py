"""The contents of the catalogue: image files of every kind, whole, odd and broken."""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass

import numpy as np
from PIL import Image, TiffImagePlugin

from bench.faults.encodings import (
    ARITHMETIC_JPEG,
    HUFFMAN_JPEG,
    PNG_SIGNATURE,
    encoded,
    exif_loop,
    png,
    png_chunk,
    png_header,
    tiff,
    with_adobe_transform,
    with_jpeg_frame,
    with_jpeg_segment,
    with_png_chunk,
    with_tiff_fields,
    with_tiff_loop,
)
from inspector.synthesis import Kind, make_scene
from inspector.types import FailureCode

OK = "ok"
"""Outcome of a file that can be judged."""

_WIDTH, _HEIGHT = 96, 80
_ORIENTATION = 0x0112
_QUARTER_TURN = 6
_TILE_WIDTH, _TILE_HEIGHT = 322, 323
_SIDE = 32
_BOMB_BYTES = 8 << 20
"""Unpacked; eight times what Pillow grants to a text in a PNG."""
_EXIF_AS_TEXT = b"Raw profile type exif\0\0"


@dataclass(frozen=True, slots=True)
class Item:
    """Content, what must become of it, and a file with the same pixels, if there is one."""

    data: bytes
    about: str
    expected: str = OK
    same_as: str | None = None


class Seeds:
    """One scene in the few encodings that everything else is derived from."""

    def __init__(self) -> None:
        rng = np.random.default_rng(5)
        self.pixels_HWC = make_scene(rng, _HEIGHT, _WIDTH, Kind.CRACK).pixels
        self.image = Image.fromarray(self.pixels_HWC)
        self._others = [
            Image.fromarray(make_scene(rng, _HEIGHT, _WIDTH, kind).pixels)
            for kind in (Kind.STAIN, Kind.HOLES)
        ]
        self.jpeg = encoded(self.image, "JPEG", quality=90)
        self.png = encoded(self.image, "PNG")
        self.tiff = encoded(self.image, "TIFF")
        self.gif = encoded(self.image, "GIF")
        self.webp = encoded(self.image, "WEBP")
        self.bmp = encoded(self.image, "BMP")

    @property
    def others(self) -> list[Image.Image]:
        """Further pictures for files that hold several. Copies: Pillow's encoders leave settings
        behind in what they save."""
        return [image.copy() for image in self._others]


def whole_images(seeds: Seeds) -> dict[str, Item]:
    """Everything that must be judged, by file name."""
    return {**_jpegs(seeds), **_pngs(seeds), **_tiffs(seeds), **_moving(seeds), **_misnamed(seeds)}


def broken_images(seeds: Seeds) -> dict[str, Item]:
    """Everything that must not be judged, by file name."""
    groups = {
        FailureCode.EMPTY: {"empty.jpg": (b"", "no bytes")},
        FailureCode.NOT_AN_IMAGE: _no_images(),
        FailureCode.TRUNCATED: _cut(seeds),
        FailureCode.CORRUPT: _damaged(seeds),
        FailureCode.UNSUPPORTED: _unsupported(seeds),
        FailureCode.TOO_LARGE: _too_large(seeds),
    }
    return {
        name: Item(data, about, code.value)
        for code, files in groups.items()
        for name, (data, about) in files.items()
    }


def _jpegs(seeds: Seeds) -> dict[str, Item]:
    image, jpeg = seeds.image, seeds.jpeg
    cmyk = encoded(image.convert("CMYK"), "JPEG", quality=90)
    grey = image.convert("L")

    def again(data: bytes, about: str) -> Item:
        return Item(data, about, same_as="rgb.jpg")

    def written(about: str, **options: object) -> Item:
        return again(encoded(image, "JPEG", quality=90, **options), about)

    return {
        "rgb.jpg": Item(jpeg, "a plain JPEG"),
        "progressive.jpg": written("progressive", progressive=True),
        "optimised.jpg": written("with code tables of its own", optimize=True),
        "restarts.jpg": written("with restart markers", restart_marker_blocks=1),
        "icc_junk.jpg": written("an ICC profile that is none", icc_profile=b"junk" * 99),
        "xmp_junk.jpg": written("XMP that is none", xmp=b"\xff\0<junk" * 9),
        "exif_junk.jpg": again(
            with_jpeg_segment(jpeg, 0xE1, b"Exif\0\0" + b"\xff" * 52), "EXIF of random bytes"
        ),
        "exif_loop.jpg": again(
            with_jpeg_segment(jpeg, 0xE1, exif_loop()), "an EXIF directory within itself"
        ),
        "trailing.jpg": again(jpeg + b"motion photo" * 9, "bytes behind the end"),
        "several.jpg": again(
            encoded(image, "MPO", quality=90, save_all=True, append_images=seeds.others),
            "several pictures (MPO): the first one counts",
        ),
        "cmyk.jpg": Item(cmyk, "CMYK"),
        "ycck.jpg": Item(with_adobe_transform(cmyk, 2), "YCCK"),
        "grey.jpg": Item(encoded(grey, "JPEG", quality=90), "grey"),
        "huffman.jpg": Item(HUFFMAN_JPEG, "a JPEG by another encoder"),
        "arithmetic.jpg": Item(ARITHMETIC_JPEG, "arithmetic codes", same_as="huffman.jpg"),
    }


def _pngs(seeds: Seeds) -> dict[str, Item]:
    image, pixels_HWC = seeds.image, seeds.pixels_HWC
    exif = Image.Exif()
    exif[_ORIENTATION] = _QUARTER_TURN
    turned = encoded(image.transpose(Image.Transpose.ROTATE_90), "PNG", exif=exif)
    palette = image.quantize(16)

    def again(data: bytes, about: str) -> Item:
        return Item(data, about, same_as="rgb.png")

    return {
        "rgb.png": Item(seeds.png, "a plain PNG"),
        "interlaced.png": again(png(pixels_HWC, interlaced=True), "interlaced"),
        "rgb16.png": again(png(pixels_HWC.astype(np.uint16) * 257), "16 bits per colour"),
        "turned.png": Item(turned, "turned by EXIF"),
        "opaque.png": again(encoded(image.convert("RGBA"), "PNG"), "an alpha channel, opaque"),
        "icc_junk.png": again(
            with_png_chunk(seeds.png, b"iCCP", b"p\0\0junk"), "an ICC profile that is none"
        ),
        "short_part.png": again(with_png_chunk(seeds.png, b"pHYs", b"\0"), "a part cut short"),
        "text_bomb.png": again(
            with_png_chunk(
                seeds.png, b"zTXt", _EXIF_AS_TEXT + zlib.compress(bytes(_BOMB_BYTES), 9)
            ),
            "a text that unpacks to a thousand times its size",
        ),
        "moving.png": again(
            encoded(image, "PNG", save_all=True, append_images=seeds.others),
            "animated (APNG): the first picture counts",
        ),
        "colour_key.png": again(
            with_png_chunk(seeds.png, b"tRNS", struct.pack(">HHH", 0, 255, 1)),
            "one colour, which it has not, as transparent",
        ),
        "grey16.png": Item(png(pixels_HWC[:, :, :1].astype(np.uint16) * 257), "16 bit grey"),
        "palette.png": Item(encoded(palette, "PNG", transparency=3), "palette, one transparent"),
        "bits.png": Item(encoded(image.convert("1"), "PNG"), "black and white"),
        "alpha.png": Item(encoded(_half_transparent(image), "PNG"), "a transparent half"),
    }


def _half_transparent(image: Image.Image) -> Image.Image:
    layered = image.convert("RGBA")
    layered.paste((0, 0, 0, 0), (0, 0, image.width // 2, image.height))
    return layered


def _tiffs(seeds: Seeds) -> dict[str, Item]:
    image = seeds.image
    tiles = TiffImagePlugin.ImageFileDirectory_v2()
    tiles[_TILE_WIDTH], tiles[_TILE_HEIGHT] = _SIDE, _SIDE

    def again(data: bytes, about: str) -> Item:
        return Item(data, about, same_as="rgb.png")

    packed = {
        f"{name}.tif": again(encoded(image, "TIFF", compression=f"tiff_{name}"), name)
        for name in ("lzw", "adobe_deflate")
    }
    pixels_HWC = seeds.pixels_HWC
    planes = [np.ascontiguousarray(pixels_HWC[..., k]) for k in range(3)]
    wide = [(plane.astype("<u2") * 257).tobytes() for plane in planes]
    alpha_HWC = np.stack([planes[0], np.full_like(planes[0], 255)], axis=-1)
    return packed | {
        "planes16.tif": again(
            tiff(pixels_HWC.astype(np.uint16), {284: (2,)}, strips=wide),
            "one colour after the other, 16 bit",
        ),
        "big.tif": again(tiff(pixels_HWC, big=True), "BigTIFF"),
        "big_high_first.tif": again(
            tiff(pixels_HWC, big=True, order=">"), "BigTIFF, high bytes first"
        ),
        "grey.tif": Item(tiff(pixels_HWC[..., :1]), "grey"),
        "grey_alpha.tif": Item(
            tiff(alpha_HWC, {338: (1,)}), "grey, premultiplied alpha", same_as="grey.tif"
        ),
        "rgb.tif": again(seeds.tiff, "a plain TIFF"),
        "tiles.tif": again(encoded(image, "TIFF", tiffinfo=tiles), "in tiles"),
        "big_endian.tif": again(tiff(seeds.pixels_HWC, order=">"), "high bytes first"),
        "loop.tif": again(with_tiff_loop(seeds.tiff), "a directory that follows itself"),
        "pages.tif": again(
            encoded(image, "TIFF", save_all=True, append_images=[image.reduce(2)]),
            "a smaller version behind it",
        ),
        "cmyk.tif": Item(encoded(image.convert("CMYK"), "TIFF"), "CMYK"),
        "jpeg.tif": Item(encoded(image, "TIFF", compression="jpeg"), "JPEG within TIFF"),
        "grey16.tif": Item(
            encoded(Image.fromarray(seeds.pixels_HWC[:, :, 0].astype(np.uint16) * 257), "TIFF"),
            "16 bit grey",
            same_as="grey16.png",
        ),
    }


def _moving(seeds: Seeds) -> dict[str, Item]:
    image = seeds.image
    palette = image.quantize(64)
    still_gif = encoded(palette, "GIF")
    frame = still_gif.index(b",", 13 + 3 * 64)
    outside = still_gif[: frame + 1] + struct.pack("<HH", 20, 20) + still_gif[frame + 5 :]
    webp = encoded(image, "WEBP", lossless=True, save_all=True, append_images=seeds.others)
    return {
        "still.gif": Item(still_gif, "a GIF"),
        "moving.gif": Item(
            encoded(palette, "GIF", save_all=True, append_images=seeds.others),
            "animated: the first picture counts",
            same_as="still.gif",
        ),
        "outside.gif": Item(outside, "a picture beyond the canvas, which grows"),
        "lossy.webp": Item(seeds.webp, "a WebP"),
        "trailing.webp": Item(seeds.webp + b"junk", "bytes behind the end", same_as="lossy.webp"),
        "moving.webp": Item(webp, "animated: the first picture counts", same_as="rgb.png"),
        "rgb.bmp": Item(seeds.bmp, "a BMP", same_as="rgb.png"),
    }


def _misnamed(seeds: Seeds) -> dict[str, Item]:
    return {
        "jpeg_inside.png": Item(seeds.jpeg, "a JPEG by another name", same_as="rgb.jpg"),
        "png_inside.jpg": Item(seeds.png, "a PNG by another name", same_as="rgb.png"),
        "webp_inside.heic": Item(seeds.webp, "a WebP by another name", same_as="lossy.webp"),
        "UPPER.JPG": Item(seeds.jpeg, "a name in capitals", same_as="rgb.jpg"),
        "no_ending": Item(seeds.png, "a photo without a name ending", same_as="rgb.png"),
        "photo.dat": Item(seeds.jpeg, "a photo with a foreign name ending", same_as="rgb.jpg"),
    }


_Files = dict[str, tuple[bytes, str]]


def _no_images() -> _Files:
    return {
        "text.jpg": (b"camera 3, wall 12\n" * 9, "a text"),
        "page.jpg": (b"<!DOCTYPE html><html>404</html>", "an error page that was downloaded"),
        "zeros.jpg": (bytes(4096), "zeros"),
        "sheet.png": (b"%PDF-1.7\n" + bytes(64), "a PDF"),
        "archive.jpg": (b"PK\x03\x04" + bytes(64), "a ZIP"),
        "program.jpg": (b"\x7fELF" + bytes(64), "a program"),
        "two_bytes.jpg": (b"\xff\xd8", "too short to tell"),
    }


def _cut(seeds: Seeds) -> _Files:
    jpeg = seeds.jpeg
    thumbnail = with_jpeg_segment(jpeg, 0xE1, b"Exif\0\0" + b"\xff" * 40 + encoded(
        seeds.image.resize((_SIDE, _SIDE)), "JPEG"))  # fmt: skip
    wholes = {
        ".jpg": jpeg,
        "_progressive.jpg": encoded(seeds.image, "JPEG", progressive=True),
        "_restarts.jpg": encoded(seeds.image, "JPEG", restart_marker_blocks=1),
        ".png": seeds.png,
        ".webp": seeds.webp,
        ".gif": seeds.gif,
        ".bmp": seeds.bmp,
        ".avif": encoded(seeds.image, "AVIF"),
        ".tif": seeds.tiff,
        "_lzw.tif": encoded(seeds.image, "TIFF", compression="tiff_lzw"),
        "_tail.tif": tiff(seeds.pixels_HWC, order=">"),
    }
    halves = {
        f"half{name}": (data[: len(data) // 2], "half of it") for name, data in wholes.items()
    }
    third = len(jpeg) // 3
    return halves | {
        "start.jpg": (jpeg[:3], "the first bytes only"),
        "start.png": (PNG_SIGNATURE, "the first bytes only"),
        "start.tif": (seeds.tiff[:8], "the first bytes only"),
        "start.gif": (seeds.gif[:9], "the first bytes only"),
        "start.webp": (seeds.webp[:16], "the first bytes only"),
        "header.png": (png_header(_WIDTH, _HEIGHT), "a header and nothing else"),
        "last_bytes.jpg": (jpeg[:-2], "all but the end marker"),
        "last_bytes.png": (seeds.png[:-30], "all but the end"),
        "thumbnail.jpg": (thumbnail[: -len(jpeg) + 400], "cut behind a whole thumbnail"),
        "zero_tail.jpg": (
            jpeg[:third] + bytes(len(jpeg) - third),
            "zeros for the rest, as an interrupted copy leaves them",
        ),
        "few_planes.tif": (
            tiff(seeds.pixels_HWC, {284: (2,)}, strips=[seeds.pixels_HWC[..., 0].tobytes()]),
            "one colour of three",
        ),
        "few_strips.tif": (
            with_tiff_fields(seeds.tiff, {257: 3 * _HEIGHT}),
            "strips for a third of the picture",
        ),
        "riff_size.webp": (
            seeds.webp[:4] + struct.pack("<I", len(seeds.webp) + 1000) + seeds.webp[8:],
            "says it is longer",
        ),
    }


def _damaged(seeds: Seeds) -> _Files:
    jpeg, tiff, bmp, webp = seeds.jpeg, seeds.tiff, seeds.bmp, seeds.webp
    middle = len(jpeg) // 2
    packed = encoded(seeds.image, "TIFF", compression="jpeg")
    half = len(packed) // 2
    body = png_chunk(b"IDAT", b"not zlib data") + seeds.png[-12:]
    flipped = bytearray(seeds.png)
    flipped[len(flipped) // 2] ^= 1
    return {
        "bad_sector.jpg": (
            jpeg[:middle] + bytes(512) + jpeg[middle + 512 :],
            "512 bytes lost in the middle",
        ),
        "bad_sector.tif": (
            packed[:half] + bytes(512) + packed[half + 512 :],
            "the same in a JPEG within a TIFF",
        ),
        "swapped.jpg": (jpeg.replace(b"\xff\xdb", b"\xff\xfe"), "without its tables"),
        "flat.jpg": (with_jpeg_frame(jpeg, sides=(_WIDTH, 0)), "96 x 0 pixels"),
        "body.png": (png_header(_WIDTH, _HEIGHT) + body, "pixels that are none"),
        "flipped.png": (bytes(flipped), "one bit flipped"),
        "flat.png": (png_header(0, _HEIGHT) + body, "0 x 80 pixels"),
        "flat.tif": (with_tiff_fields(tiff, {256: 0}), "0 x 80 pixels"),
        "flat.bmp": (bmp[:18] + struct.pack("<ii", 0, _HEIGHT) + bmp[26:], "0 x 80 pixels"),
        "riff_short.webp": (
            webp[:4] + struct.pack("<I", len(webp) - 20) + webp[8:],
            "says it is shorter",
        ),
    }


def _unsupported(seeds: Seeds) -> _Files:
    small = (_SIDE, _SIDE)
    preview = TiffImagePlugin.ImageFileDirectory_v2()
    preview[254] = 1
    return {
        "float.tif": (encoded(Image.new("F", small), "TIFF"), "floating-point pixels"),
        "integers.tif": (encoded(Image.new("I", small), "TIFF"), "32 bit pixels"),
        "lab.tif": (encoded(Image.new("LAB", small), "TIFF"), "CIELAB"),
        "raw.tif": (encoded(seeds.image, "TIFF", tiffinfo=preview), "begins with a preview"),
        "no_meaning.tif": (tiff(seeds.pixels_HWC[..., :1], {262: None}), "not what 0 means"),
        "fuji.raf": (b"FUJIFILMCCD-RAW 0201" + bytes(64), "camera raw"),
        "olympus.orf": (b"IIRO\x08\0\0\0" + bytes(64), "camera raw"),
        "masks.bmp": (
            seeds.bmp[:28] + struct.pack("<HI", 32, 3) + seeds.bmp[34:],
            "masks that nobody uses",
        ),
        "packing.tif": (with_tiff_fields(seeds.tiff, {259: 12345}), "an unknown compression"),
        "lossless.jpg": (with_jpeg_frame(seeds.jpeg, marker=0xC3), "lossless JPEG"),
        "bits12.jpg": (with_jpeg_frame(seeds.jpeg, marker=0xC1, bits=12), "12 bits"),
        "scan.jp2": (b"\0\0\0\x0cjP  \r\n\x87\n" + bytes(64), "JPEG 2000"),
        "layers.psd": (b"8BPS\0\x01" + bytes(64), "Photoshop"),
        "camera.pgm": (b"P5\n2 2\n255\n" + bytes(4), "PGM"),
    }


def _too_large(seeds: Seeds) -> _Files:
    gif = seeds.gif[:6] + b"\xff" * 4 + seeds.gif[10:]
    return {
        "bomb.png": (png_header(60_000, 60_000) + seeds.png[33:], "3,600 megapixels"),
        "absurd.png": (png_header(2**31, 2**31) + seeds.png[33:], "2^31 x 2^31 pixels"),
        "absurd.tif": (with_tiff_fields(seeds.tiff, {256: 2**31, 257: 2**31}), "the same"),
        "bomb.jpg": (with_jpeg_frame(seeds.jpeg, sides=(65535, 65535)), "65535 x 65535"),
        "bomb.gif": (gif, "65535 x 65535"),
    }
