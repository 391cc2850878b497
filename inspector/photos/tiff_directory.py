"""The directories of a TIFF or BigTIFF: which fields there are and where their values lie.

Nothing that a file claims is believed before it is looked at, and no field is read further than
somebody asks.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from inspector.photos.reading import Bytes

TYPE_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4,
              16: 8, 17: 8, 18: 8}  # fmt: skip
"""Bytes per value of each field type (TIFF 6.0, section 2; BigTIFF)."""
INTEGERS = {1: "B", 3: "H", 4: "I", 7: "B", 13: "I", 16: "Q", 18: "Q"}
MOST_VALUES = 1 << 16
"""Number of values of one field that are looked at together: hostile files may claim any number."""
LARGE_PART = 1 << 24
"""Pixels; tiles of up to this size may be larger than the photo."""
MOST_DIRECTORIES = 1000
"""Number of pages that are followed."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A field: its type, the number of its values, and the place of the first in the file."""

    kind: int
    count: int
    start: int

    @property
    def end(self) -> int:
        return self.start + self.count * TYPE_BYTES.get(self.kind, 0)


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


def read_directory(data: Bytes, at: int | None = None) -> Directory:
    """Read a directory, by default the first. Raises struct.error where it lies beyond the end of
    the file."""
    order = "<" if data[:2] == b"II" else ">"
    is_big = data[2:4] in (b"+\0", b"\0+")
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
        is_inline = values * TYPE_BYTES.get(kind, 0) <= inline
        start = first + (number + 1) * form.size - inline if is_inline else place
        entry = Entry(kind, values, start)
        is_whole &= entry.end <= len(data)
        entries.setdefault(tag, entry)
    end = data[first + size : first + size + inline]
    following = struct.unpack(order + word, end)[0] if len(end) == inline else 0
    return Directory(data, order, entries, is_whole, following)


def later_pages(page: Directory) -> Iterator[Directory]:
    """Yield the pages behind `page`, as far as they can be read; never one twice."""
    seen = {0}
    while page.next not in seen and len(seen) < MOST_DIRECTORIES:
        seen.add(page.next)
        try:
            page = read_directory(page.data, page.next)
        except struct.error:
            return
        yield page


def _unpack(form: str, data: Bytes, at: int) -> tuple[int, ...]:
    return struct.unpack(form, data[at : at + struct.calcsize(form)])
