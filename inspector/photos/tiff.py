"""Refusing TIFFs that would not be read right, by what their first directory says.

Pillow opens many TIFFs as something other than the photo, and says nothing. What `_KINDS` does not
list is therefore refused; what it lists, tests compare with an independent reader.
"""

from __future__ import annotations

import contextlib
import struct
from math import prod
from typing import TYPE_CHECKING

from inspector.photos.jpeg import refuse_damaged_parts
from inspector.photos.opened import Refused
from inspector.photos.tiff_directory import MOST_VALUES, STRIPS, TILES, Tag, read_directory
from inspector.types import FailureCode

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from inspector.photos.opened import Bytes
    from inspector.photos.tiff_directory import Directory

_FILL_ORDER, _SUB_DIRECTORIES, _INK_SET = 266, 330, 332
_EXTRA, _FORMAT, _JPEG_TABLES = 338, 339, 347
_DNG_VERSION = 50706
_MOST_BELOW = 8

_REDUCED_RESOLUTION = 1
"""TIFF 6.0, section 8: this bit of the tag marks a smaller version of another image in the file."""
_SMALLER = "the first page is only a smaller version of another picture, as in GDAL's .ovr files"
_CAMERA_RAW = ((8, b"CR"), (8, b"IIII"), (8, b"MMMM"))
"""Marks of camera raw files that are TIFFs as well, of Canon and Phase One."""
_SENSOR = frozenset({32803, 34892})
"""PhotometricInterpretations of what a sensor saw (TIFF/EP, DNG)."""

_UNCOMPRESSED, _JPEG = 1, 7
_COMPRESSIONS = {
    _UNCOMPRESSED: "uncompressed",
    2: "CCITT 1D",
    3: "fax 3",
    4: "fax 4",
    5: "LZW",
    _JPEG: "JPEG",
    8: "deflate",
    32773: "PackBits",
    32946: "deflate",
    34925: "LZMA",
    50000: "Zstandard",
}
"""The compressions that are read; `_OTHER_COMPRESSIONS` are known by name only."""
_FAX = frozenset({2, 3, 4})
_OTHER_COMPRESSIONS = {6: "old-style JPEG", 34712: "JPEG 2000", 34887: "LERC", 50001: "WebP",
                       50002: "JPEG XL"}  # fmt: skip

_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB, _PALETTE, _CMYK, _YCBCR = 0, 1, 2, 3, 5, 6
_COLOURS = {
    _WHITE_IS_ZERO: ("grey with white as zero", 1),
    _BLACK_IS_ZERO: ("grey", 1),
    _RGB: ("RGB", 3),
    _PALETTE: ("palette", 1),
    4: ("a mask", 1),
    _CMYK: ("CMYK", 4),
    _YCBCR: ("YCbCr", 3),
    8: ("CIELAB", 3),
    9: ("ICC Lab", 3),
    32803: ("a sensor's mosaic", 1),
    34892: ("linear raw", 3),
}
"""Name and number of colour channels by PhotometricInterpretation."""

_NO_EXTRA: frozenset[tuple[int, ...]] = frozenset({()})
_ONE_EXTRA = _NO_EXTRA | {(0,), (1,), (2,)}
"""ExtraSamples: 0 is something unnamed (infrared), 1 premultiplied alpha, 2 alpha."""
_UNNAMED = _NO_EXTRA | {(0,), (0, 0), (0, 0, 0)}
_SEVERAL_EXTRA = _UNNAMED | {(a, *rest) for a in (1, 2) for rest in ((), (0,), (0, 0))}

_KINDS: Mapping[tuple[int, int, bool], frozenset[tuple[int, ...]]] = {
    **{
        (colours, bits, False): _NO_EXTRA
        for colours in (_WHITE_IS_ZERO, _BLACK_IS_ZERO, _PALETTE)
        for bits in (1, 2, 4, 8)
    },
    (_BLACK_IS_ZERO, 8, False): _ONE_EXTRA,
    (_BLACK_IS_ZERO, 16, False): _NO_EXTRA,
    (_RGB, 8, False): _SEVERAL_EXTRA,
    (_RGB, 16, False): _ONE_EXTRA,
    (_RGB, 8, True): _UNNAMED | _ONE_EXTRA,
    (_RGB, 16, True): _UNNAMED | _ONE_EXTRA,
    **{(_CMYK, bits, planar): _NO_EXTRA for bits in (8, 16) for planar in (False, True)},
    (_YCBCR, 8, False): _NO_EXTRA,
}
"""The kinds of TIFF that are read: colours, bits per channel, whether each channel is stored on its
own (planar), and the ExtraSamples that may follow the colours."""


def is_whole(data: Bytes) -> bool:
    """Whether all that a TIFF's first directory, and those below it, point at lies within the
    file."""
    try:
        first = read_directory(data)
        below = [read_directory(data, at) for at in first.values(_SUB_DIRECTORIES)[:_MOST_BELOW]]
        parts = [part for page in (first, *below) for part in _parts(page)]
    except struct.error:
        return False
    return first.is_whole and all(offset + count <= len(data) for offset, count in parts)


def is_dng(data: Bytes) -> bool:
    """Whether a file is a DNG."""
    if data[:2] not in (b"II", b"MM"):
        return False
    with contextlib.suppress(struct.error):
        return _DNG_VERSION in read_directory(data).entries
    return False


def is_camera_raw(data: Bytes) -> bool:
    """Whether a TIFF holds what a sensor saw; its first page is then often a preview."""
    if is_dng(data) or any(data[at : at + len(mark)] == mark for at, mark in _CAMERA_RAW):
        return True
    with contextlib.suppress(struct.error):
        first = read_directory(data)
        pages = (first, *_pages_below(first))
        return any(_SENSOR.intersection(page.values(Tag.PHOTOMETRIC)) for page in pages)
    return False


def refuse_unreadable(data: Bytes, *, preview: bool = False) -> None:
    """Raise Refused for a TIFF that is not known to be read right, or whose pixels are not all
    there; unless `preview` is wanted also where its first page is not the photo itself."""
    try:
        page = read_directory(data)
        if not all(any(page.values(tag)) for tag in (Tag.WIDTH, Tag.HEIGHT)):
            raise Refused(FailureCode.CORRUPT, "the TIFF does not say how wide and high it is")
        if page.has_huge_tiles:
            across, down = page.first(Tag.TILE_WIDTH, 0), page.first(Tag.TILE_HEIGHT, 0)
            wide, high = page.sides
            detail = f"the TIFF says that its tiles are {across} x {down}, itself {wide} x {high}"
            raise Refused(FailureCode.CORRUPT, detail)
        unsupported = _unsupported(page)
        if not preview and _is_preview(page):
            unsupported = _SMALLER
        if unsupported:
            raise Refused(FailureCode.UNSUPPORTED, unsupported)
        _refuse_missing_parts(page)
    except struct.error as error:
        detail = "the TIFF's directory reaches beyond the end of the file"
        raise Refused(FailureCode.TRUNCATED, detail) from error


def refuse_damaged(data: Bytes) -> None:
    """Raise Refused for JPEGs within a TIFF in which pixels are lost, of which libtiff says
    nothing. Only for a TIFF that `refuse_unreadable` lets pass."""
    page = read_directory(data)
    if page.first(Tag.COMPRESSION, _UNCOMPRESSED) == _JPEG:
        parts = (data[at : at + count] for at, count in _parts(page))
        refuse_damaged_parts(bytes(page.values(_JPEG_TABLES)), parts)


def _parts(page: Directory) -> Iterator[tuple[int, int]]:
    """Yield offset and byte count of each strip or tile."""
    for offsets, counts in (STRIPS, TILES):
        yield from zip(page.values(offsets), page.values(counts), strict=False)


def _is_preview(first: Directory) -> bool:
    """Whether the first page is not the photo itself."""
    larger = any(prod(below.sides) > prod(first.sides) for below in _pages_below(first))
    return larger or bool(first.first(Tag.SUBFILE, 0) & _REDUCED_RESOLUTION)


def _pages_below(first: Directory) -> Iterator[Directory]:
    """Read the pages that the first one names as its own, except damaged ones."""
    for at in first.values(_SUB_DIRECTORIES)[:_MOST_BELOW]:
        with contextlib.suppress(struct.error):
            yield read_directory(first.data, at)


def _unsupported(page: Directory) -> str | None:
    """Describe the kind of TIFF, if it is none that is read."""
    if not page.values(Tag.PHOTOMETRIC):
        return "the TIFF does not say what its numbers mean (no PhotometricInterpretation)"
    photometric, compression = page.first(Tag.PHOTOMETRIC, 0), page.first(Tag.COMPRESSION, 1)
    name, colours = _COLOURS.get(photometric, (f"colours of type {photometric}", 1))
    samples = page.first(Tag.SAMPLES, 1)
    depths = page.values(Tag.BITS) or (1,)
    bits = depths[0]
    formats = set(page.values(_FORMAT)) or {1}
    extra = page.values(_EXTRA)
    planar = page.first(Tag.PLANAR, 1) == 2 and samples > 1
    in_order = page.values(_FILL_ORDER) in ((), (1,))
    usual_inks = page.values(_INK_SET) in ((), (1,))
    if (
        compression in _COMPRESSIONS
        and extra in _KINDS.get((photometric, bits, planar), ())
        and samples == colours + len(extra)
        and set(depths) == {bits}
        and len(depths) in (1, samples)
        and formats == {1}
        and (in_order or bits == 1)
        and (compression not in _FAX or bits == 1)
        and (compression != _JPEG or (bits == 8 and photometric != _PALETTE))
        and (compression != _JPEG or planar or samples <= 4)
        and (photometric != _CMYK or usual_inks)
    ):
        return None
    packing = (_COMPRESSIONS | _OTHER_COMPRESSIONS).get(compression, f"compression {compression}")
    numbers = {2: "signed ", 3: "floating-point "}.get(max(formats), "")
    words = [f"{numbers}{' and '.join(map(str, sorted(set(depths))))} bit {name}"]
    if samples != colours:
        alpha = " with transparency" if {1, 2} & set(extra) else ""
        words.append(f"{samples} channels{alpha}")
    if not usual_inks:
        words.append("other inks")
    if not in_order:
        words.append("reversed bits")
    if planar:
        words.append("one channel stored after the other")
    return f"a TIFF of this kind is not supported: {', '.join([*words, packing])}"


def _refuse_missing_parts(page: Directory) -> None:
    """Raise Refused where strips or tiles are missing: Pillow and libtiff may leave them black."""
    width, height = page.sides
    across, down = width, page.first(Tag.ROWS_PER_STRIP, height)
    if page.values(Tag.TILE_WIDTH) and page.values(Tag.TILE_HEIGHT):
        across, down = page.first(Tag.TILE_WIDTH, 0), page.first(Tag.TILE_HEIGHT, 0)
    planes = page.first(Tag.SAMPLES, 1) if page.first(Tag.PLANAR, 1) == 2 else 1
    needed = -(-width // max(across, 1)) * -(-height // max(down, 1)) * planes
    strips, tiles = (page.values(offsets) for offsets, _ in (STRIPS, TILES))
    offsets = strips or tiles
    there = sum(offset > 0 for offset in offsets)
    if there < min(needed, MOST_VALUES):
        detail = f"{needed - there:,} of the TIFF's {needed:,} strips or tiles are missing"
        raise Refused(FailureCode.TRUNCATED, detail)
