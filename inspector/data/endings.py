"""What is wrong with an image file that cannot be decoded, by what its format says about itself:
cut short, of a kind that nobody reads, or damaged."""

from __future__ import annotations

import struct

from inspector.data.jpeg import END_OF_IMAGE, first_scan, is_of_common_kind

_PNG_END = b"IEND\xaeB\x60\x82"
"""The type and checksum of a PNG's last chunk (PNG, section 11.2.5)."""

_GIF_TRAILER, _GIF_EXTENSION, _GIF_IMAGE = b";!,"
"""What the blocks of a GIF begin with (GIF89a, appendix A)."""
_GIF_HEADER, _GIF_FLAGS = 13, 10
_GIF_IMAGE_HEADER, _GIF_IMAGE_FLAGS = 11, 9
"""Bytes up to a picture's data, and where in front of them the flags of its palette stand."""

_TIFF_TYPE_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8}
"""Bytes per value of each field type (TIFF 6.0, section 2)."""
_TIFF_PIXELS = ((273, 279), (324, 325))
"""Tags of offsets and byte counts, of strips and of tiles."""
_TIFF_INTEGERS = {3: "H", 4: "I"}

_TIFF_WIDTH, _TIFF_HEIGHT, _TIFF_COMPRESSION = 256, 257, 259
_TIFF_COMMON_COMPRESSIONS = frozenset({1, 3, 4, 5, 7, 8, 32773, 32946})
"""None, fax 3 and 4, LZW, JPEG, deflate, PackBits, deflate again."""

_TIFF_ASKED = frozenset(
    {_TIFF_WIDTH, _TIFF_HEIGHT, _TIFF_COMPRESSION, *_TIFF_PIXELS[0], *_TIFF_PIXELS[1]}
)
_TIFF_MOST_VALUES = 1 << 16
"""Of one field that are looked at: hostile files may claim as many as the file has bytes."""

_Fields = dict[int, tuple[int, ...]]


def is_whole(data: bytes, announced: str) -> bool:
    """Whether `data`, of the format `announced`, reaches its end; True for formats without one."""
    if announced == "JPEG":
        scan = first_scan(data)
        return scan is not None and data.find(END_OF_IMAGE, scan) >= 0
    if announced == "PNG":
        return data.rfind(_PNG_END) >= 0
    if announced == "WEBP":
        return len(data) >= int.from_bytes(data[4:8], "little") + 8
    if announced == "BMP":
        return len(data) >= int.from_bytes(data[2:6], "little")
    if announced == "GIF":
        return _gif_is_whole(data)
    return announced != "TIFF" or _tiff_is_whole(data)


def is_rare_kind(data: bytes, announced: str, *, identified: bool) -> bool:
    """Whether a whole file of the format `announced` is of a kind that its decoder may well lack,
    given whether it got past the header."""
    if announced == "JPEG":
        return first_scan(data) is not None and not is_of_common_kind(data)
    if announced != "TIFF":
        return False
    fields = _tiff_fields(data)
    if not all(any(fields.get(tag, ())) for tag in (_TIFF_WIDTH, _TIFF_HEIGHT)):
        return False
    compression = fields.get(_TIFF_COMPRESSION, (1,))[0]
    return not identified or compression not in _TIFF_COMMON_COMPRESSIONS


def _gif_is_whole(data: bytes) -> bool:
    """Whether the blocks lead to a trailer; also where one is none, which is another fault."""
    at = _GIF_HEADER
    try:
        at += _gif_palette(data[_GIF_FLAGS])
        while data[at] != _GIF_TRAILER:
            if data[at] == _GIF_IMAGE:
                at += _GIF_IMAGE_HEADER + _gif_palette(data[at + _GIF_IMAGE_FLAGS])
            elif data[at] == _GIF_EXTENSION:
                at += 2
            else:
                return True
            while data[at]:
                at += 1 + data[at]
            at += 1
    except IndexError:
        return False
    return True


def _gif_palette(flags: int) -> int:
    """Bytes of the colour table that a packed field announces."""
    return 3 << (flags & 7) + 1 if flags & 0x80 else 0


def _tiff_is_whole(data: bytes) -> bool:
    """Whether all that a TIFF's first directory points at lies within the file."""
    try:
        fields = _tiff_fields(data)
    except struct.error:
        return False
    return all(
        offset + count <= len(data)
        for offsets, counts in _TIFF_PIXELS
        for offset, count in zip(fields.get(offsets, ()), fields.get(counts, ()), strict=False)
    )


def _tiff_fields(data: bytes) -> _Fields:
    """The fields of the first directory that are asked for here. Raises struct.error where data
    are missing."""
    order = "<" if data[:2] == b"II" else ">"
    (directory,) = struct.unpack_from(f"{order}I", data, 4)
    (entries,) = struct.unpack_from(f"{order}H", data, directory)
    fields: _Fields = {}
    for entry in range(directory + 2, directory + 2 + 12 * entries, 12):
        tag, kind, count, place = struct.unpack_from(f"{order}HHII", data, entry)
        size = count * _TIFF_TYPE_BYTES.get(kind, 0)
        start = entry + 8 if size <= 4 else place
        if start + size > len(data):
            raise struct.error("a field lies beyond the end of the file")
        if kind in _TIFF_INTEGERS and tag in _TIFF_ASKED and tag not in fields:
            form = f"{order}{min(count, _TIFF_MOST_VALUES)}{_TIFF_INTEGERS[kind]}"
            fields[tag] = struct.unpack_from(form, data, start)
    return fields
