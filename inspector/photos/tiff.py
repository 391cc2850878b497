"""Refusing TIFFs that would not be read right, by what their first directory says.

Pillow opens many TIFFs as something other than the photo, and says nothing. What `_KINDS` does not
list is therefore refused; what it lists, tests compare with an independent reader.
"""

from __future__ import annotations

import contextlib
import struct
from typing import TYPE_CHECKING

from inspector.photos.jpeg import refuse_damaged_parts
from inspector.photos.reading import Refused
from inspector.photos.tiff_directory import INTEGERS, LARGE_PART, MOST_VALUES, read_directory
from inspector.types import FailureCode

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from inspector.photos.opened import Bytes

_SUBFILE, _WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC = 254, 256, 257, 258, 259, 262
_FILL_ORDER, _SAMPLES, _ROWS_PER_STRIP, _PLANAR, _SUB_DIRECTORIES = 266, 277, 278, 284, 330
_TILE_WIDTH, _TILE_HEIGHT, _INK_SET, _EXTRA, _FORMAT, _JPEG_TABLES = 322, 323, 332, 338, 339, 347
_DNG_VERSION = 50706
_PIXELS = ((273, 279), (324, 325))
"""Tags of offsets and byte counts, of strips and of tiles."""
_ASKED = frozenset(
    {_SUBFILE, _WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC, _FILL_ORDER, _SAMPLES, _EXTRA}
    | {_ROWS_PER_STRIP, _PLANAR, _SUB_DIRECTORIES, _TILE_WIDTH, _TILE_HEIGHT, _INK_SET, _FORMAT}
    | {_JPEG_TABLES, _DNG_VERSION, *_PIXELS[0], *_PIXELS[1]}
)

_MOST_BELOW = 8

_Fields = dict[int, tuple[int, ...]]

_REDUCED_RESOLUTION = 1
"""TIFF 6.0, section 8: this bit of the tag marks a smaller version of another image in the file."""
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
    (_CMYK, 8, False): _NO_EXTRA,
    (_CMYK, 8, True): _NO_EXTRA,
    (_CMYK, 16, False): _NO_EXTRA,
    (_CMYK, 16, True): _NO_EXTRA,
    (_YCBCR, 8, False): _NO_EXTRA,
}
"""The kinds of TIFF that are read: colours, bits per channel, whether each channel is stored on its
own (planar), and the ExtraSamples that may follow the colours."""


def is_whole(data: Bytes) -> bool:
    """Whether all that a TIFF's first directory, and those below it, point at lies within the
    file."""
    try:
        fields, is_whole = _fields(data)
        below = [_fields(data, at)[0] for at in fields.get(_SUB_DIRECTORIES, ())[:_MOST_BELOW]]
    except struct.error:
        return False
    parts = (part for page in (fields, *below) for part in _parts(page))
    return is_whole and all(offset + count <= len(data) for offset, count in parts)


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
        fields, _ = _fields(data)
        pages = (fields, *_pages_below(data, fields))
        return any(_SENSOR.intersection(page.get(_PHOTOMETRIC, ())) for page in pages)
    return False


def refuse_unreadable(data: Bytes, *, preview: bool = False) -> None:
    """Raise Refused for a TIFF that is not known to be read right, or whose pixels are not all
    there; unless `preview` is wanted also where its first page is not the photo itself."""
    try:
        fields, _ = _fields(data)
    except struct.error as error:
        detail = "the TIFF's directory reaches beyond the end of the file"
        raise Refused(FailureCode.TRUNCATED, detail) from error
    if not all(any(fields.get(tag, ())) for tag in (_WIDTH, _HEIGHT)):
        raise Refused(FailureCode.CORRUPT, "the TIFF does not say how wide and high it is")
    _refuse_huge_parts(fields)
    unsupported = _unsupported(fields)
    if not preview:
        unsupported = _preview(data, fields) or unsupported
    if unsupported:
        raise Refused(FailureCode.UNSUPPORTED, unsupported)
    _refuse_missing_parts(fields)


def refuse_damaged(data: Bytes) -> None:
    """Raise Refused for JPEGs within a TIFF in which pixels are lost, of which libtiff says
    nothing. Only for a TIFF that `refuse_unreadable` lets pass."""
    fields, _ = _fields(data)
    if fields.get(_COMPRESSION, (_UNCOMPRESSED,))[0] == _JPEG:
        parts = (data[at : at + count] for at, count in _parts(fields))
        refuse_damaged_parts(bytes(fields.get(_JPEG_TABLES, ())), parts)


def _parts(fields: _Fields) -> Iterator[tuple[int, int]]:
    """Yield offset and byte count of each strip or tile."""
    for offsets, counts in _PIXELS:
        yield from zip(fields.get(offsets, ()), fields.get(counts, ()), strict=False)


def _preview(data: Bytes, fields: _Fields) -> str | None:
    """Say why the first page is not the photo itself; None if it is."""
    pixels = fields[_WIDTH][0] * fields[_HEIGHT][0]
    larger = any(_pixels(below) > pixels for below in _pages_below(data, fields))
    if larger or fields.get(_SUBFILE, (0,))[0] & _REDUCED_RESOLUTION:
        return (
            "the first page is only a smaller version of another picture, as in GDAL's .ovr files"
        )
    return None


def _pages_below(data: Bytes, fields: _Fields) -> Iterator[_Fields]:
    """Read the pages that the first one names as its own, except damaged ones."""
    for at in fields.get(_SUB_DIRECTORIES, ())[:_MOST_BELOW]:
        with contextlib.suppress(struct.error):
            yield _fields(data, at)[0]


def _pixels(fields: _Fields) -> int:
    """Count the pixels of a page."""
    return fields.get(_WIDTH, (0,))[0] * fields.get(_HEIGHT, (0,))[0]


def _unsupported(fields: _Fields) -> str | None:
    """Describe the kind of TIFF, if it is none that is read."""
    if _PHOTOMETRIC not in fields:
        return "the TIFF does not say what its numbers mean (no PhotometricInterpretation)"
    (photometric, *_), (compression, *_) = fields[_PHOTOMETRIC], fields.get(_COMPRESSION, (1,))
    name, colours = _COLOURS.get(photometric, (f"colours of type {photometric}", 1))
    samples = fields.get(_SAMPLES, (1,))[0]
    depths = fields.get(_BITS, (1,))
    bits = depths[0]
    formats = set(fields.get(_FORMAT, (1,)))
    extra = fields.get(_EXTRA, ())
    planar = fields.get(_PLANAR, (1,))[0] == 2 and samples > 1
    fax = compression in _FAX
    if (
        compression in _COMPRESSIONS
        and extra in _KINDS.get((photometric, bits, planar), ())
        and samples == colours + len(extra)
        and set(depths) == {bits}
        and len(depths) in (1, samples)
        and formats == {1}
        and (fields.get(_FILL_ORDER, (1,)) == (1,) or bits == 1)
        and (not fax or bits == 1)
        and (compression != _JPEG or (bits == 8 and photometric != _PALETTE))
        and (compression != _JPEG or planar or samples <= 4)
        and (photometric != _CMYK or fields.get(_INK_SET, (1,)) == (1,))
    ):
        return None
    packing = (_COMPRESSIONS | _OTHER_COMPRESSIONS).get(compression, f"compression {compression}")
    numbers = {2: "signed ", 3: "floating-point "}.get(max(formats), "")
    words = [f"{numbers}{' and '.join(map(str, sorted(set(depths))))} bit {name}"]
    if samples != colours:
        alpha = " with transparency" if {1, 2} & set(extra) else ""
        words.append(f"{samples} channels{alpha}")
    if fields.get(_INK_SET, (1,)) != (1,):
        words.append("other inks")
    if fields.get(_FILL_ORDER, (1,)) != (1,):
        words.append("reversed bits")
    if planar:
        words.append("one channel stored after the other")
    return f"a TIFF of this kind is not supported: {', '.join([*words, packing])}"


def _refuse_huge_parts(fields: _Fields) -> None:
    """Raise Refused for tiles much larger than the photo, which take memory and hold nothing."""
    (width, *_), (height, *_) = fields[_WIDTH], fields[_HEIGHT]
    across, down = (fields.get(tag, (0,))[0] for tag in (_TILE_WIDTH, _TILE_HEIGHT))
    if across * down > max(LARGE_PART, 4 * width * height):
        detail = f"the TIFF says that its tiles are {across} x {down}, itself {width} x {height}"
        raise Refused(FailureCode.CORRUPT, detail)


def _refuse_missing_parts(fields: _Fields) -> None:
    """Raise Refused where strips or tiles are missing: Pillow and libtiff may leave them black."""
    (width, *_), (height, *_) = fields[_WIDTH], fields[_HEIGHT]
    across, down = width, fields.get(_ROWS_PER_STRIP, (height,))[0]
    if _TILE_WIDTH in fields and _TILE_HEIGHT in fields:
        across, down = fields[_TILE_WIDTH][0], fields[_TILE_HEIGHT][0]
    samples = fields.get(_SAMPLES, (1,))[0]
    planes = samples if fields.get(_PLANAR, (1,))[0] == 2 else 1
    needed = -(-width // max(across, 1)) * -(-height // max(down, 1)) * planes
    offsets = next((fields[tag] for tag, _ in _PIXELS if tag in fields), ())
    there = sum(offset > 0 for offset in offsets)
    if there < min(needed, MOST_VALUES):
        detail = f"{needed - there:,} of the TIFF's {needed:,} strips or tiles are missing"
        raise Refused(FailureCode.TRUNCATED, detail)


def _fields(data: Bytes, directory: int | None = None) -> tuple[_Fields, bool]:
    """Read the fields in `_ASKED` of a directory, by default the first: values by tag, and whether
    those of all other fields lie within the file. Raises struct.error where one of these does
    not."""
    page = read_directory(data, directory)
    fields = {}
    for tag, entry in page.entries.items():
        if tag in _ASKED and entry.kind in INTEGERS and entry.count:
            if entry.end > len(data):
                raise struct.error("a field lies beyond the end of the file")
            fields[tag] = page.values(tag)
    return fields, page.is_whole
