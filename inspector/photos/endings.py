"""What is wrong with an image file that cannot be decoded, by what its format says about itself:
cut short, of a kind that nobody reads, or damaged."""

from __future__ import annotations

import struct

from inspector.photos import tiff
from inspector.photos.jpeg import END_OF_IMAGE, first_scan, is_of_common_kind

_PNG_END = b"IEND\xaeB\x60\x82"
"""The type and checksum of a PNG's last chunk (PNG, section 11.2.5)."""

_GIF_TRAILER, _GIF_EXTENSION, _GIF_IMAGE = b";!,"
"""What the blocks of a GIF begin with (GIF89a, appendix A)."""
_GIF_HEADER, _GIF_FLAGS = 13, 10
_GIF_IMAGE_HEADER, _GIF_IMAGE_FLAGS = 11, 9
"""Bytes up to a picture's data, and where in front of them the flags of its palette stand."""

_BMP_HEADERS = frozenset({12, 16, 40, 52, 56, 64, 108, 124})
"""Sizes by which the versions of a BMP's header are told apart."""
_BMP_DEPTHS = frozenset({0, 1, 2, 4, 8, 16, 24, 32, 64})
_BMP_PACKINGS = frozenset({*range(7), *range(11, 14)})


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
    return announced not in ("TIFF", "BigTIFF") or tiff.is_whole(data)


def is_rare_kind(data: bytes, announced: str, *, opened: bool) -> bool:
    """Whether a whole file of the format `announced` is of a kind that its decoder may well lack,
    given whether it got past the header."""
    if announced == "JPEG":
        return first_scan(data) is not None and not is_of_common_kind(data)
    if announced == "PNG":
        return data[12:16] == b"CgBI"  # as Apple packs them into programs
    return announced == "BMP" and not opened and _bmp_is_rare(data)


def _bmp_is_rare(data: bytes) -> bool:
    """Whether a BMP that no decoder takes has a header as there can be."""
    header = data[14:34].ljust(20, b"\0")
    (size,) = struct.unpack_from("<I", header)
    if size < 40:
        return size in _BMP_HEADERS and all(struct.unpack_from("<HH", header, 4))
    width, height, _, depth, packing = struct.unpack_from("<iiHHI", header, 4)
    known = size in _BMP_HEADERS and depth in _BMP_DEPTHS and packing in _BMP_PACKINGS
    return known and width != 0 and height != 0


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
