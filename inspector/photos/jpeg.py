"""The fast way to the pixels of a plain JPEG, and the only one that hears of damage.

Everything else about a JPEG is Pillow's: whether it is one, its facts, and the kinds that are not
plain. This way gives the very pixels that Pillow would, none, or a refusal: where libjpeg had to
make up pixels, Pillow would pass them on without a word.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Literal

from PIL import Image, features

from inspector.photos.opened import Refused
from inspector.types import FailureCode

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import numpy as np
    from numpy.typing import NDArray

try:
    from simplejpeg import decode_jpeg, decode_jpeg_header
except ImportError:
    decode_jpeg = None

START_OF_IMAGE, END_OF_IMAGE = b"\xff\xd8", b"\xff\xd9"
"""JPEG's first and last markers (ITU-T T.81, table B.1); entropy-coded data contain neither."""

_SAME_LIBRARY = features.check_feature("libjpeg_turbo")
"""Pillow can be built with another libjpeg, which upsamples by other arithmetic."""

_SMALLEST = 8
"""Side in pixels below which the two decoders may differ."""

_DAMAGE = re.compile(
    r"Premature end of JPEG file|Corrupt JPEG data: (?!bad ICC)"
    r"(?:(?P<extra>\d+) extraneous bytes before marker 0xd9)?"
)
"""libjpeg's warnings that pixels were made up or that data were left over (jerror.h, JWRN_*)."""
_SHORT_PADDING = 4
"""Number of bytes that may be left over before the end: some cameras fill up to a word. Any number
of zeros may be left over."""

_DECODABLE_FRAMES = frozenset({0xC0, 0xC1, 0xC2, 0xC9, 0xCA})
"""Start-of-frame markers (ITU-T T.81, table B.1) of baseline, extended sequential and progressive
JPEGs, with Huffman or arithmetic codes; the others are lossless or hierarchical."""
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}  # these three define tables
_FIRST_SEGMENT = 2
_SEGMENTS = range(0xC0, 0xFF)
_START_OF_SCAN = 0xDA
_WITHOUT_LENGTH = frozenset(range(0xD0, 0xDA))  # restarts, start and end of image


def plain_image(data: bytes, sides: tuple[int, int]) -> Image.Image | None:
    """Return the result of `plain_pixels` as an RGB image."""
    pixels_HWC = plain_pixels(data, sides, "RGBX")
    if pixels_HWC is None:
        return None
    # As it lies in Pillow's own memory; from three bytes per pixel the way is twice as long.
    return Image.frombuffer("RGBX", sides, pixels_HWC, "raw", "RGBX", 0, 1).convert("RGB")


def plain_pixels(
    data: bytes, sides: tuple[int, int], order: Literal["RGB", "RGBX"] = "RGB"
) -> NDArray[np.uint8] | None:
    """Decode a plain JPEG to uint8 pixels of shape (H, W, 3), or (H, W, 4) for `RGBX`.

    `sides` are the width and height at which Pillow would decode it: in full, or at 1/2, 1/4 or
    1/8. None for a JPEG that is not plain, and where simplejpeg is not installed: Pillow then has
    to decode it, or to say why not. Raises Refused for damaged data.
    """
    width, height = sides
    if decode_jpeg is None or not _SAME_LIBRARY or min(sides) < _SMALLEST:
        return None
    try:
        if not is_of_common_kind(data) or decode_jpeg_header(data)[2] not in ("YCbCr", "Gray"):
            return None
        # `strict` makes errors of what libjpeg only warns about.
        pixels_HWC: NDArray[np.uint8] = decode_jpeg(
            data, order, min_height=height, min_width=width, strict=True
        )
    except MemoryError:
        raise
    except Exception as error:  # of many types; what is not damage is Pillow's to judge
        _refuse_damaged(data, str(error))
        return None
    return pixels_HWC if pixels_HWC.shape[:2] == (height, width) else None


def refuse_damaged_parts(tables: bytes, parts: Iterable[bytes]) -> None:
    """Raise Refused if pixels are lost in one of the JPEGs `parts`, as a TIFF holds them: without
    their tables, which all have in common. Says nothing about those that are not plain."""
    if decode_jpeg is None:
        return
    tables = tables.removesuffix(END_OF_IMAGE) or START_OF_IMAGE
    for part in parts:
        data = tables + part.removeprefix(START_OF_IMAGE)
        try:
            # At an eighth of the size: all codes are read, few pixels are made.
            decode_jpeg(data, min_height=1, min_width=1, strict=True)
        except MemoryError:
            raise
        except Exception as error:
            _refuse_damaged(data, str(error))


def _refuse_damaged(data: bytes, message: str) -> None:
    damage = _DAMAGE.search(message)
    if damage is None:
        return
    if damage["extra"]:
        end = find_end(data)
        left_over = data[max(end - int(damage["extra"]), 0) : end]
        if len(left_over) <= _SHORT_PADDING or not left_over.strip(b"\0"):
            return
    raise Refused(FailureCode.CORRUPT, f"pixels of the JPEG are lost: {message}")


def first_scan(data: bytes) -> int | None:
    """Find the first scan of a JPEG; None where the header is not one segment after the other up
    to there."""
    return next((at for marker, at in _segments(data) if marker == _START_OF_SCAN), None)


def find_end(data: bytes) -> int:
    """Find the end mark of a JPEG's picture, that of the first where there are several; -1 where
    there is none. One before its first scan is that of a thumbnail."""
    return data.find(END_OF_IMAGE, first_scan(data) or 0)


def is_of_common_kind(data: bytes) -> bool:
    """Whether there is a first frame, of 8 bits and of a kind that decoders know."""
    for marker, at in _segments(data):
        if marker in _FRAMES:
            return marker in _DECODABLE_FRAMES and data[at + 4 : at + 5] == b"\x08"
    return False


def _segments(data: bytes) -> Iterator[tuple[int, int]]:
    """Yield markers and their places as long as the header is one segment after the other."""
    at = _FIRST_SEGMENT
    while data[at : at + 1] == b"\xff" and at + 3 < len(data):
        marker = data[at + 1]
        if marker not in _SEGMENTS or marker in _WITHOUT_LENGTH:
            return
        yield marker, at
        at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
