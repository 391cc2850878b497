"""The pixels of a TIFF, read a few strips or a row of tiles at a time: memory holds them once,
whatever the size of the file.

Each window becomes a small TIFF, of the strips or tiles that lie in it and the fields that say what
they mean, which Pillow reads as it would the whole. Only for what `tiff.refuse_unreadable` lets
pass.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from io import BytesIO
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, TiffImagePlugin

from inspector.photos.opened import Refused
from inspector.photos.pixels import BACKDROP, as_stored, to_rgb, upright_sides
from inspector.photos.tiff_directory import (
    STRIPS,
    TILES,
    TYPE_BYTES,
    Directory,
    Tag,
    later_pages,
    read_directory,
)
from inspector.types import FailureCode

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from inspector.photos.opened import Bytes

_ORIENTATION, _NODATA = 274, 42113
_FACTS = (270, 271, 272, 305, 306, 315, 700)
"""Description, make, model, software, time, artist, XMP."""
_MEANING = (Tag.BITS, Tag.COMPRESSION, Tag.PHOTOMETRIC, 266, Tag.SAMPLES, Tag.PLANAR, 292, 293, 317,
            320, 332, 334, 338, 339, 347, 529, 530, 531, 532)  # fmt: skip
"""Tags of what a decoder has to know about the bytes of a strip or tile."""

_WINDOW_PIXELS = 1 << 20
"""Number of pixels that are decoded together, if strips and tiles allow it."""
_UNCOMPRESSED, _YCBCR, _BLACK_IS_ZERO = 1, 6, 1
_TRANSPARENCY = 4
"""TIFF 6.0, section 8: this bit of the tag marks a page that tells which pixels are there."""
_MOST_GROWTH, _MOST_OVERHEAD = 3, 1 << 16
"""A compressed part takes at most so many times its pixels' bytes and so many more: a hostile file
may claim the whole of itself for each of its parts."""
_LONG, _SHORT = 4, 3

_Field = tuple[int, int, bytes]
"""Type, number of values, and the values as they lie in the file."""


def read_pixels(data: Bytes) -> NDArray[np.uint8]:
    """Decode a TIFF to its upright pixels, uint8 (H, W, 3). Raises Refused, and whatever Pillow
    raises for damaged ones."""
    page = read_directory(data)
    layout = _Layout.of(page)
    orientation = page.first(_ORIENTATION, 1)
    sides = upright_sides((layout.height, layout.width), orientation)
    pixels_HWC = np.empty((*sides, 3), np.uint8)
    stored_HWC = as_stored(pixels_HWC, orientation)
    nodata = _nodata(page)
    for rows, columns, image in layout.windows():
        window_HWC = stored_HWC[rows, columns]
        window_HWC[...] = np.asarray(to_rgb(image))
        if nodata is not None:
            window_HWC[(window_HWC == nodata).all(axis=-1)] = BACKDROP
    for mask in later_pages(page):
        if mask.first(Tag.SUBFILE, 0) & _TRANSPARENCY and _is_mask_of(mask, page):
            for rows, columns, image in _Layout.of(mask, colours=_BLACK_IS_ZERO).windows():
                stored_HWC[rows, columns][np.asarray(image.convert("L")) == 0] = BACKDROP
            break
    return pixels_HWC


def _nodata(page: Directory) -> int | None:
    """Return the 8-bit value by which GDAL marks pixels that are not there; None if it has none, or
    where transparency says it better."""
    _, _, text = _as_it_lies(page, _NODATA)
    try:
        value = float(text.strip(b"\0 "))
    except ValueError:
        return None
    bits = page.first(Tag.BITS, 1)
    if bits not in (8, 16) or not 0 <= value < 1 << bits or page.first(338, 0) in (1, 2):
        return None
    return int(value) >> bits - 8


def _is_mask_of(mask: Directory, page: Directory) -> bool:
    is_plain = (mask.first(Tag.SAMPLES, 1), mask.first(Tag.BITS, 1)) in ((1, 1), (1, 8))
    return is_plain and mask.sides == page.sides and not mask.has_huge_tiles


def header(data: Bytes) -> bytes:
    """Return a TIFF that has the size, the kind and the plain facts of another, and no pixels."""
    page = read_directory(data)
    fields = {tag: _as_integers(page, tag) for tag in (Tag.WIDTH, Tag.HEIGHT, _ORIENTATION)}
    fields |= {tag: _as_it_lies(page, tag) for tag in (*_MEANING, *_FACTS)}
    fields[STRIPS[0]] = fields[STRIPS[1]] = _longs(page.order, [8])
    return _tiff(page.order, {tag: field for tag, field in fields.items() if field[1]}, [])


@dataclass(frozen=True, slots=True)
class _Layout:
    """How the pixels of a page are cut into parts: strips, or tiles."""

    page: Directory
    width: int
    height: int
    part_width: int
    part_height: int
    planes: int
    """Channels that are stored on their own, in parts of their own; 1 if they lie together."""
    is_tiled: bool
    tags: tuple[int, int]
    """Of offsets and byte counts."""
    colours: int
    row_bytes: int | None = None
    """Of strips whose rows lie in the file as they are; None of all others."""

    @classmethod
    def of(cls, page: Directory, *, colours: int | None = None) -> _Layout:
        """Read the layout; `colours` overrides the page's PhotometricInterpretation."""
        width, height = page.sides
        samples = page.first(Tag.SAMPLES, 1)
        planes = samples if page.first(Tag.PLANAR, 1) == 2 else 1
        colours = page.first(Tag.PHOTOMETRIC, 0) if colours is None else colours
        across, down = page.first(Tag.TILE_WIDTH, 0), page.first(Tag.TILE_HEIGHT, 0)
        is_tiled = across > 0 and down > 0
        tags = STRIPS if STRIPS[0] in page.entries else TILES
        if is_tiled:
            tags = TILES if TILES[0] in page.entries else STRIPS
            return cls(page, width, height, across, down, planes, True, tags, colours)
        down = min(page.first(Tag.ROWS_PER_STRIP, height) or height, height)
        row_bytes = None
        if page.first(Tag.COMPRESSION, _UNCOMPRESSED) == _UNCOMPRESSED and colours != _YCBCR:
            row_bytes = -(-width * (samples // planes) * page.first(Tag.BITS, 1) // 8)
        return cls(page, width, height, width, down, planes, False, tags, colours, row_bytes)

    def windows(self) -> Iterator[tuple[slice, slice, Image.Image]]:
        """Yield the rows and the columns of each window, and its image."""
        if self.row_bytes is not None and self.part_height * self.width > _WINDOW_PIXELS:
            yield from self._slices(self.row_bytes)
            return
        together = max(_WINDOW_PIXELS // max(self.part_width * self.part_height, 1), 1)
        wide = min(together, self.across) if self.is_tiled else 1
        high = 1 if self.is_tiled else together
        for row in range(0, self.down, high):
            for column in range(0, self.across, wide):
                rows = range(row, min(row + high, self.down))
                columns = range(column, min(column + wide, self.across))
                top, left = row * self.part_height, column * self.part_width
                bottom = min(rows.stop * self.part_height, self.height)
                right = min(columns.stop * self.part_width, self.width)
                parts = [
                    part
                    for plane in range(self.planes)
                    for each in rows
                    for part in self._parts((plane * self.down + each) * self.across, columns)
                ]
                image = self._image((right - left, bottom - top), self.part_height, parts)
                yield slice(top, bottom), slice(left, right), image

    @property
    def across(self) -> int:
        """Number of parts beside each other."""
        return -(-self.width // self.part_width)

    @property
    def down(self) -> int:
        """Number of parts below each other."""
        return -(-self.height // self.part_height)

    def _parts(self, first: int, columns: range) -> Iterator[bytes]:
        """Read some of the parts of the row that begins with the part `first`."""
        most = self._part_bytes() * _MOST_GROWTH + _MOST_OVERHEAD
        for at, size in self._places(first + columns.start, len(columns), most):
            yield self.page.data[at : at + min(size, most)]

    def _places(self, begin: int, count: int, unstated: int) -> list[tuple[int, int]]:
        """Offsets and byte counts of some parts; `unstated` stands for counts that are not there.
        Raises Refused."""
        offsets = self.page.values(self.tags[0], begin, count)
        counts = self.page.values(self.tags[1], begin, count) or (unstated,) * len(offsets)
        if {len(offsets), len(counts)} != {count}:
            raise Refused(FailureCode.TRUNCATED, "some of the TIFF's strips or tiles are missing")
        return list(zip(offsets, counts, strict=True))

    def _slices(self, row_bytes: int) -> Iterator[tuple[slice, slice, Image.Image]]:
        """Yield the windows of strips that are larger than a window."""
        strips = self.down * self.planes
        places = self._places(0, strips, len(self.page.data))
        step = max(_WINDOW_PIXELS // self.width, 1)
        for top in range(0, self.height, self.part_height):
            rows_left = min(self.part_height, self.height - top)
            for row in range(0, rows_left, step):
                rows = min(step, rows_left - row)
                parts = []
                for strip in range(top // self.part_height, strips, self.down):
                    begin, size = places[strip]
                    end = begin + min((row + rows) * row_bytes, size)
                    parts.append(self.page.data[begin + row * row_bytes : end])
                image = self._image((self.width, rows), rows, parts)
                yield slice(top + row, top + row + rows), slice(None), image

    def _part_bytes(self) -> int:
        """Bytes of a whole part that is not compressed."""
        samples, bits = self.page.first(Tag.SAMPLES, 1) // self.planes, self.page.first(Tag.BITS, 1)
        return -(-self.part_width * samples * bits // 8) * self.part_height

    def _image(self, sides: tuple[int, int], part_height: int, parts: list[bytes]) -> Image.Image:
        """Decode the window of this width and height, whose parts these are."""
        order = self.page.order
        fields = {tag: _as_it_lies(self.page, tag) for tag in _MEANING}
        fields[Tag.WIDTH], fields[Tag.HEIGHT] = (_longs(order, [side]) for side in sides)
        fields[Tag.PHOTOMETRIC] = _SHORT, 1, struct.pack(f"{order}H", self.colours)
        if self.is_tiled:
            fields[Tag.TILE_WIDTH] = _longs(order, [self.part_width])
            fields[Tag.TILE_HEIGHT] = _longs(order, [part_height])
        else:
            fields[Tag.ROWS_PER_STRIP] = _longs(order, [part_height])
        tags = TILES if self.is_tiled else STRIPS
        fields[tags[0]] = _longs(order, [0] * len(parts))
        fields[tags[1]] = _longs(order, [len(part) for part in parts])
        small = _tiff(order, {tag: field for tag, field in fields.items() if field[1]}, parts)
        TiffImagePlugin.READ_LIBTIFF = True  # see `decode.open_image`
        with Image.open(BytesIO(small), formats=("TIFF",)) as image:
            image.load()
            return image


def _tiff(order: str, fields: dict[int, _Field], parts: list[bytes]) -> bytes:
    """Build a TIFF of one page (TIFF 6.0, section 2). If there are parts, the values of their
    offsets are filled in here."""
    behind = 8 + 2 + 12 * len(fields) + 4
    places, at = {}, behind
    for tag in sorted(fields):
        size = len(fields[tag][2])
        if size > 4:
            places[tag] = at
            at += size + size % 2
    if parts:
        tag = TILES[0] if TILES[0] in fields else STRIPS[0]
        offsets = []
        for part in parts:
            offsets.append(at)
            at += len(part)
        fields = {**fields, tag: _longs(order, offsets)}
    pieces = [b"II*\0" if order == "<" else b"MM\0*", struct.pack(f"{order}IH", 8, len(fields))]
    for tag in sorted(fields):
        kind, count, values = fields[tag]
        place = struct.pack(f"{order}I", places[tag]) if tag in places else values.ljust(4, b"\0")
        pieces.append(struct.pack(f"{order}HHI", tag, kind, count) + place)
    pieces.append(bytes(4))
    pieces += [fields[tag][2] + bytes(len(fields[tag][2]) % 2) for tag in sorted(places)]
    return b"".join([*pieces, *parts])


def _longs(order: str, values: list[int]) -> _Field:
    return _LONG, len(values), struct.pack(f"{order}{len(values)}I", *values)


def _as_integers(page: Directory, tag: int) -> _Field:
    return _longs(page.order, list(page.values(tag)))


def _as_it_lies(page: Directory, tag: int) -> _Field:
    """Copy a field; one of 64-bit integers, which only BigTIFF has, as 32-bit ones."""
    entry = page.entries.get(tag)
    if entry is None:
        return _LONG, 0, b""
    if entry.kind in (16, 17, 18):
        return _as_integers(page, tag)
    count = min(entry.count, _MOST_OVERHEAD)
    size = count * TYPE_BYTES.get(entry.kind, 0)
    return entry.kind, count if size else 0, page.data[entry.start : entry.start + size]
