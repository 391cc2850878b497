"""Damaged files, by a seeded mutator: the same numbers give the same bytes.

What the damage hits is taken from the formats: JPEG segments (ITU-T T.81, B.1.1), PNG chunks
(PNG 1.2, section 3.2), RIFF chunks of WebP (RFC 9649) and TIFF directory entries (TIFF 6.0,
section 2).
"""

from __future__ import annotations

import random
import struct
import zlib
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from bench.faults.seeds import Seed

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    Span = tuple[int, int]
    """Where a piece of a file begins and ends."""

CUT = "cut off"
_MOST = 64
_SIZES = (0, 1, 2, 7, 255, 256, 4095, 4096, 32767, 65500, 65535)
_WIDTH_TAGS = frozenset({256, 257, 258, 273, 277, 278, 279})
"""TIFF 6.0: width, height, bits, strip offsets, samples, rows per strip, strip lengths."""


@dataclass(frozen=True, slots=True)
class Mutant:
    """A damaged copy of a seed; it may still show a picture, even the same one."""

    seed: Seed
    damage: str
    """One of DAMAGES."""
    content: bytes


def make_mutant(seeds: Sequence[Seed], number: int, *, seed: int = 0) -> Mutant:
    """The `number`-th mutant: seeds and damages in turn, everything else by chance."""
    damages = tuple(DAMAGES)
    origin = seeds[number % len(seeds)]
    # Every damage meets every seed, also where their numbers have a common divisor.
    damage = damages[(number // len(seeds)) % len(damages)]
    return damaged(origin, damage, seeds, random.Random(f"{seed} {number}"))


def damaged(origin: Seed, damage: str, seeds: Sequence[Seed], rng: random.Random) -> Mutant:
    """One file damaged in one way; `seeds` are what may be mixed into it."""
    other = rng.choice(seeds)
    return Mutant(origin, damage, DAMAGES[damage](origin.content, other.content, rng))


def _flip_bits(content: bytes, _: bytes, rng: random.Random) -> bytes:
    changed = bytearray(content)
    for _bit in range(rng.choice((1, 1, 2, 8, _MOST))):
        changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def _flip_in_header(content: bytes, _: bytes, rng: random.Random) -> bytes:
    changed = bytearray(content)
    for _byte in range(rng.choice((1, 2, 4))):
        changed[rng.randrange(min(len(changed), 200))] = rng.choice((0, 1, 127, 128, 254, 255))
    return bytes(changed)


def _blank(content: bytes, _: bytes, rng: random.Random) -> bytes:
    """A run of zeros, or of 0xFF, as bad blocks of a disk or an erased flash memory give."""
    start = rng.randrange(len(content))
    end = min(len(content), start + rng.choice((1, 16, 512, 4096, len(content))))
    return content[:start] + rng.choice((b"\0", b"\xff")) * (end - start) + content[end:]


def _cut_off(content: bytes, _: bytes, rng: random.Random) -> bytes:
    """At any byte, near the end as often as elsewhere: there it shows least."""
    near_end = rng.randrange(max(0, len(content) - _MOST), len(content))
    return content[: rng.choice((rng.randrange(1, len(content)), near_end))]


def _splice(content: bytes, other: bytes, rng: random.Random) -> bytes:
    return content[: rng.randrange(1, len(content))] + other[rng.randrange(len(other)) :]


def _swap_headers(content: bytes, other: bytes, rng: random.Random) -> bytes:
    """Another file's beginning in front of this one's remainder, at the same place."""
    length = rng.choice((2, 4, 8, 16, 64, 200, 600))
    return other[:length] + content[length:]


def _insert(content: bytes, other: bytes, rng: random.Random) -> bytes:
    place, length = rng.randrange(len(content) + 1), rng.choice((1, 2, 3, _MOST, 1000))
    start = rng.randrange(len(other))
    new = rng.choice((rng.randbytes(length), other[start : start + length]))
    return content[:place] + new + content[place:]


def _remove(content: bytes, _: bytes, rng: random.Random) -> bytes:
    start = rng.randrange(len(content))
    return content[:start] + content[start + rng.choice((1, 2, 3, _MOST, 1000)) :] or b"\0"


def _resize(content: bytes, _: bytes, rng: random.Random) -> bytes:
    """Another size in the header; checksums are set right, so that it is believed."""
    fields = _size_fields(content)
    if not fields:
        return _flip_in_header(content, b"", rng)
    changed = bytearray(content)
    for offset, layout in rng.sample(fields, rng.randint(1, len(fields))):
        most = (1 << 8 * struct.calcsize(layout)) - 1
        value = rng.choice((*_SIZES, rng.randrange(most + 1), most))
        struct.pack_into(layout, changed, offset, min(value, most))
    if content.startswith(b"\x89PNG"):
        struct.pack_into(">I", changed, 29, zlib.crc32(changed[12:29]))
    return bytes(changed)


def _shuffle(content: bytes, other: bytes, rng: random.Random) -> bytes:
    """Segments or chunks in another order, one of them twice, missing, or another file's."""
    pieces = [content[start:end] for start, end in pieces_of(content)]
    foreign = [other[start:end] for start, end in pieces_of(other)]
    first, second = rng.randrange(len(pieces)), rng.randrange(len(pieces))
    how = rng.randrange(4)
    if how == 0:
        pieces[first], pieces[second] = pieces[second], pieces[first]
    elif how == 1:
        pieces.insert(first, pieces[second])
    elif how == 2 and len(pieces) > 1:
        del pieces[first]
    else:
        pieces.insert(first, rng.choice(foreign))
    return b"".join(pieces)


DAMAGES: Mapping[str, Callable[[bytes, bytes, random.Random], bytes]] = {
    "bits flipped": _flip_bits,
    "header bytes": _flip_in_header,
    "run blanked": _blank,
    CUT: _cut_off,
    "spliced": _splice,
    "header swapped": _swap_headers,
    "bytes inserted": _insert,
    "bytes removed": _remove,
    "size edited": _resize,
    "pieces shuffled": _shuffle,
}
"""Ways to damage a file: its bytes, another file's, and chance."""


def pieces_of(content: bytes) -> list[Span]:
    """Segments, chunks or directory entries of a file, without gaps; the whole where it has no
    such structure."""
    if content.startswith(b"\xff\xd8"):
        ends = _jpeg_ends(content)
    elif content.startswith(b"\x89PNG"):
        ends = _chunk_ends(content, 8, ">I", length_at=0, extra=12)
    elif content.startswith(b"RIFF"):
        ends = _chunk_ends(content, 12, "<I", length_at=4, extra=8)
    else:
        ends = [entry for entry, _ in _tiff_entries(content)]
    cuts = [0, *(end for end in ends if 0 < end < len(content)), len(content)]
    return [(start, end) for start, end in pairwise(cuts) if start < end]


def _jpeg_ends(content: bytes) -> list[int]:
    """Where segments begin, up to the first scan."""
    ends, at = [2], 2
    while at + 4 <= len(content) and content[at] == 0xFF and content[at + 1] != 0xDA:
        at += 2 + int.from_bytes(content[at + 2 : at + 4], "big")
        ends.append(at)
    return ends


def _chunk_ends(content: bytes, at: int, layout: str, *, length_at: int, extra: int) -> list[int]:
    ends = [at]
    while at + 8 <= len(content):
        (length,) = struct.unpack_from(layout, content, at + length_at)
        at += extra + length + (length % 2 if layout == "<I" else 0)  # RIFF pads to even lengths
        ends.append(at)
    return ends


def _tiff_entries(content: bytes) -> list[tuple[int, int]]:
    """Offset and tag of the first directory's entries."""
    if content[:4] not in (b"II*\0", b"MM\0*"):
        return []
    order = "<" if content[:2] == b"II" else ">"
    (directory,) = struct.unpack_from(f"{order}I", content, 4)
    (count,) = struct.unpack_from(f"{order}H", content, directory)
    offsets = [directory + 2 + 12 * number for number in range(count)]
    return [(at, struct.unpack_from(f"{order}H", content, at)[0]) for at in offsets]


def _size_fields(content: bytes) -> list[tuple[int, str]]:
    """Where the header tells width, height and the like, as offset and `struct` layout."""
    if content.startswith(b"\x89PNG"):
        return [(16, ">I"), (20, ">I")]
    if content.startswith(b"RIFF"):
        at = {b"VP8 ": (26, "<H"), b"VP8L": (21, "<I"), b"VP8X": (24, "<I")}.get(content[12:16])
        return [at, (4, "<I"), (16, "<I")] if at else []
    if content.startswith(b"\xff\xd8"):
        frames = [start for start, _ in pieces_of(content) if content[start + 1] in (0xC0, 0xC2)]
        return [(start + offset, ">H") for start in frames for offset in (5, 7)]
    order = "<" if content[:2] == b"II" else ">"
    return [(at + 8, f"{order}I") for at, tag in _tiff_entries(content) if tag in _WIDTH_TAGS]
