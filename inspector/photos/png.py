"""A PNG without the parts that say nothing about the photo: Pillow gives up a whole picture for
one that is too short or too large, and reads some colour keys wrongly."""

from __future__ import annotations

import contextlib
import struct
import zlib

from inspector.photos.opened import Refused
from inspector.photos.xmp import MOST_BYTES
from inspector.types import FailureCode

SIGNATURE = b"\x89PNG\r\n\x1a\n"

_CHUNK = struct.Struct(">I4s")
_CHECKSUM_BYTES = 4
_ASKED = frozenset({b"tRNS", b"eXIf", b"tEXt", b"zTXt", b"iTXt"})
"""Types of the parts that are no pixels and are looked at."""
_COLOUR_KEY_BYTES = {0: 2, 2: 6}
"""Bytes of a transparent colour by colour type (PNG, section 11.3.1): grey, RGB."""
_PALETTE = 3
_TEXTS = frozenset({b"XML:com.adobe.xmp", b"Raw profile type exif"})
"""Keywords of texts that hold facts about the photo, as Pillow knows them."""


def plain_png(data: bytes) -> bytes:
    """Reduce a PNG to what Pillow reads rightly: pixels, palette, colour key, EXIF and XMP, and of
    an animation the still picture. Raises Refused for a colour key that cannot be applied."""
    kept: list[bytes | memoryview] = [data[: len(SIGNATURE)]]
    is_changed = False
    at = len(SIGNATURE)
    depth, colours = data[24:26].ljust(2, b"\0")
    while at + _CHUNK.size <= len(data):
        size, kind = _CHUNK.unpack_from(data, at)
        end = at + _CHUNK.size + size + _CHECKSUM_BYTES
        if end > len(data):
            break  # cut short, which is Pillow's to say
        chunk = memoryview(data)[at:end]
        at = end
        if kind[:1].isupper():
            kept.append(chunk)
            continue
        plain = _plain_chunk(kind, bytes(chunk), depth, colours) if kind in _ASKED else b""
        is_changed |= plain != chunk
        kept.append(plain)
    return b"".join([*kept, data[at:]]) if is_changed else data


def _plain_chunk(kind: bytes, chunk: bytes, depth: int, colours: int) -> bytes:
    """Return the chunk as it should be, empty where it is better left out."""
    body = chunk[_CHUNK.size : -_CHECKSUM_BYTES]
    if kind == b"tRNS":
        return _plain_key(chunk, body, depth, colours)
    is_useful = kind == b"eXIf" or _is_useful_text(kind, body)
    return chunk if is_useful and _is_sound(chunk) else b""


def _is_sound(chunk: bytes) -> bool:
    checksum = int.from_bytes(chunk[-_CHECKSUM_BYTES:], "big")
    return zlib.crc32(memoryview(chunk)[4:-_CHECKSUM_BYTES]) == checksum


def _plain_key(chunk: bytes, body: bytes, depth: int, colours: int) -> bytes:
    if colours == _PALETTE:
        return chunk if body else b""
    if len(body) != _COLOUR_KEY_BYTES.get(colours):
        return b""
    if depth == 16:
        if colours:
            detail = "PNGs of 16 bits per colour with one colour as transparent are not supported"
            raise Refused(FailureCode.UNSUPPORTED, detail)
        return chunk
    if not _is_sound(chunk):
        return chunk  # damage, which is Pillow's to say
    # Pillow compares the key with pixels that it has spread over 0..255.
    most = (1 << depth) - 1
    numbers = struct.unpack(f">{len(body) // 2}H", body)
    spread = [(number & most) * 255 // most for number in numbers]
    plain = b"tRNS" + struct.pack(f">{len(spread)}H", *spread)
    return struct.pack(">I", len(body)) + plain + struct.pack(">I", zlib.crc32(plain))


def _is_useful_text(kind: bytes, body: bytes) -> bool:
    """Whether a text holds facts about the photo, and is not too long."""
    keyword, _, text = body.partition(b"\0")
    if keyword not in _TEXTS:
        return False
    if kind == b"zTXt":
        return text[:1] == b"\0" and _unpacks(text[1:])
    if kind == b"iTXt" and text[:2] == b"\1\0":
        return _unpacks(text[2:].split(b"\0", 2)[-1])
    return len(text) <= MOST_BYTES


def _unpacks(packed: bytes) -> bool:
    unpacker = zlib.decompressobj()
    with contextlib.suppress(zlib.error):
        unpacker.decompress(packed, MOST_BYTES)
        return not unpacker.unconsumed_tail
    return False
