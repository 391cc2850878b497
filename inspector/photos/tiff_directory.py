"""The directories of a TIFF or BigTIFF: which fields there are and where their values lie.

Nothing that a file claims is believed before it is looked at, and no field is read further than
somebody asks.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum
from math import prod
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from inspector.photos.opened import Bytes


class Tag(IntEnum):
    """Numbers of fields that several modules look at."""

    SUBFILE = 254
    OLD_SUBFILE = 255
    WIDTH = 256
    HEIGHT = 257
    BITS = 258
    COMPRESSION = 259
    PHOTOMETRIC = 262
    SAMPLES = 277
    ROWS_PER_STRIP = 278
    PLANAR = 284
    TILE_WIDTH = 322
    TILE_HEIGHT = 323


STRIPS, TILES = (273, 279), (324, 325)
"""Tags of the parts' offsets and of their byte counts."""
_NO_PHOTO = 1 | 4
"""TIFF 6.0, section 8: bits of the tag that mark a smaller version and a mask."""

TYPE_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4,
              16: 8, 17: 8, 18: 8}  # fmt: skip
"""Bytes per value of each field type (TIFF 6.0, section 2; BigTIFF)."""
INTEGERS = {1: "B", 3: "H", 4: "I", 7: "B", 13: "I", 16: "Q", 18: "Q"}
MOST_VALUES = 1 << 16
"""Number of values of one field that are looked at together: hostile files may claim any number."""
_LARGE_TILE = 1 << 24
"""Pixels; tiles of up to this size may be larger than the photo."""
MOST_DIRECTORIES, MOST_ENTRIES = 10_000, 1 << 18
"""Numbers of pages that are followed, and of fields in them."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A field: its type, the number of its values, and the place of the first in the file."""

    kind: int
    count: int
    start: int


@dataclass(frozen=True, slots=True)
class Directory:
    """A page of a TIFF: its fields by tag, of several with one tag the first."""

    data: Bytes
    order: str
    """Of the bytes: `<` the low ones first, `>` the high ones."""
    entries: Mapping[int, Entry]
    is_whole: bool
    """Whether the values of all fields lie within the file."""
    next: int
    """Place of the next page's directory; 0 where there is none."""
    at: int
    """Its own place."""

    def values(self, tag: int, begin: int = 0, count: int = MOST_VALUES) -> tuple[int, ...]:
        """Return up to `count` of the field's values from `begin` on; none if it is missing or
        holds no integers. Raises struct.error where they lie beyond the end of the file."""
        entry = self.entries.get(tag)
        if entry is None or entry.kind not in INTEGERS:
            return ()
        count = max(min(count, entry.count - begin), 0)
        form = f"{self.order}{count}{INTEGERS[entry.kind]}"
        start = entry.start + begin * TYPE_BYTES[entry.kind]
        return struct.unpack(form, self.data[start : start + struct.calcsize(form)])

    def first(self, tag: int, default: int) -> int:
        """Return the field's first value. Raises struct.error as `values` does."""
        return next(iter(self.values(tag, count=1)), default)

    @property
    def sides(self) -> tuple[int, int]:
        """Width and height in pixels."""
        return self.first(Tag.WIDTH, 0), self.first(Tag.HEIGHT, 0)

    @property
    def has_huge_tiles(self) -> bool:
        """Whether its tiles are much larger than itself: they take memory and hold nothing."""
        tile = self.first(Tag.TILE_WIDTH, 0) * self.first(Tag.TILE_HEIGHT, 0)
        return tile > max(_LARGE_TILE, 4 * prod(self.sides))


def read_directory(data: Bytes, at: int | None = None) -> Directory:
    """Read a directory, by default the first. Raises struct.error where it lies beyond the end of
    the file."""
    order, is_big = _kind(data)
    word, number_of_entries = ("Q", "Q") if is_big else ("I", "H")
    if at is None:
        (at,) = _unpack(order + word, data, 8 if is_big else 4)
    if at > len(data):
        raise struct.error("the directory lies beyond the end of the file")
    (count,) = _unpack(order + number_of_entries, data, at)
    form = struct.Struct(f"{order}HH{word}{word}")
    inline = struct.calcsize(word)
    first = at + struct.calcsize(order + number_of_entries)
    size = form.size * min(count, MOST_VALUES)
    block = data[first : first + size]
    if len(block) < size:
        raise struct.error("the directory reaches beyond the end of the file")
    entries: dict[int, Entry] = {}
    is_whole = True
    for number, (tag, kind, values, place) in enumerate(form.iter_unpack(block)):
        length = values * TYPE_BYTES.get(kind, 0)
        start = first + (number + 1) * form.size - inline if length <= inline else place
        is_whole &= start + length <= len(data)
        entries.setdefault(tag, Entry(kind, values, start))
    end = data[first + size : first + size + inline]
    following = struct.unpack(order + word, end)[0] if len(end) == inline else 0
    return Directory(data, order, entries, is_whole, following, at)


def later_pages(page: Directory) -> Iterator[Directory]:
    """Yield the pages behind `page`, as far as they can be read; never one twice."""
    seen, entries = {0, page.at}, 0
    while page.next not in seen and len(seen) < MOST_DIRECTORIES and entries < MOST_ENTRIES:
        seen.add(page.next)
        entries += len(page.entries)
        try:
            page = read_directory(page.data, page.next)
        except struct.error:
            return
        yield page


def photo_pages(data: Bytes) -> list[int]:
    """Return the places of the directories that show photos of their own: the first, and each
    later one that is no mask and no smaller version of the first. Only the first where the file is
    no TIFF or damaged."""
    try:
        first = read_directory(data)
        places = [0]
        at = first.next
        for page in later_pages(first):
            if _shows_another(page, first):
                places.append(at)
            at = page.next
    except struct.error:
        return [0]
    return places


def _shows_another(page: Directory, first: Directory) -> bool:
    """Whether a page is a photo of its own, by TIFF 6.0's tags and by its sides: smaller than the
    first page and of its proportions it is a step of a pyramid, or a thumbnail."""
    if page.first(Tag.SUBFILE, 0) & _NO_PHOTO or page.first(Tag.OLD_SUBFILE, 1) == 2:
        return False
    (width, height), (own_width, own_height) = first.sides, page.sides
    if not own_width or not own_height:
        return False
    is_alike = abs(own_width * height - own_height * width) <= max(width, height)
    return not (is_alike and own_width < width)


def at_page(data: Bytes, directory: int) -> Bytes:
    """Return a TIFF whose first page is another of its pages."""
    order, is_big = _kind(data)
    skipped, word = (8, "Q") if is_big else (4, "I")
    head = data[:skipped] + struct.pack(order + word, directory)
    return head + data[len(head) :] if isinstance(data, bytes) else data.with_head(head)


def _kind(data: Bytes) -> tuple[str, bool]:
    """Return the order of a TIFF's bytes, as `Directory.order`, and whether it is a BigTIFF."""
    return "<" if data[:2] == b"II" else ">", data[2:4] in (b"+\0", b"\0+")


def _unpack(form: str, data: Bytes, at: int) -> tuple[int, ...]:
    return struct.unpack(form, data[at : at + struct.calcsize(form)])
