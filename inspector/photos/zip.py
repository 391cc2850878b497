"""ZIP archives, read in place: by their directory, or from the beginning where that is lost.

Numbers in brackets are sections of PKWARE's APPNOTE.TXT 6.3.10.
"""

from __future__ import annotations

import stat
import struct
import zlib
from contextlib import suppress
from typing import TYPE_CHECKING

from inspector.photos.blocks import RAW, Inflated, Piece
from inspector.photos.members import DamagedError, Member
from inspector.photos.opened import Refused
from inspector.types import FailureCode

if TYPE_CHECKING:
    from collections.abc import Iterator

    from inspector.photos.blocks import Block

MAGIC = b"PK\x03\x04"
_DIRECTORY, _END = b"PK\x01\x02", b"PK\x05\x06"
_END_64, _LOCATOR_64 = b"PK\x06\x06", b"PK\x06\x07"
_LOCAL_HEADER = struct.Struct("<4s2xHH4xIIIHH")  # 4.3.7
_ENTRY = struct.Struct("<4sBBxxHH4xIIIHHHHxxII")  # 4.3.12
_ENTRY_64 = struct.Struct("<4s20xQQQQ")  # 4.3.14
_LOCATOR = struct.Struct("<4sIQI")  # 4.3.15
_TAIL = struct.Struct("<4sHHHHIIH")  # 4.3.16
_LONGEST_COMMENT = 0xFFFF
_UNKNOWN = 0xFFFFFFFF
_ZIP64 = 1
_ENCRYPTED, _SIZES_BEHIND, _UTF_8 = 1, 1 << 3, 1 << 11
"""Flags (4.4.4)."""
_STORED, _DEFLATED = 0, 8
_METHODS = {9: "Deflate64", 12: "BZIP2", 14: "LZMA", 93: "Zstandard", 95: "XZ"}
_UNIX = 3
_BLOCK = 1 << 20
"""Bytes of the directory in memory; the longest entry takes a fifth of it."""
_DESCRIPTOR = 24 + len(MAGIC)
_LARGEST_UNKNOWN = 1 << 32
"""Bytes of a member without a size up to which its end is looked for."""


class ZipArchive:
    """An `Archive`. Raises DamagedError for a file that is none, OSError."""

    is_stream = False

    def __init__(self, file: Block, size: int) -> None:
        self._file, self._size = file, size
        self._begin = self._end = self._shift = 0
        """Borders of the directory, and by how much places in it are too small."""
        self._has_directory = self._find_directory()
        if not self._has_directory and file.read_at(0, 4) != MAGIC:
            raise DamagedError("it is no ZIP, or its end is missing")

    def members(self) -> Iterator[Member]:
        if not self._has_directory:
            yield from self._without_directory()
            raise DamagedError("it is cut off: its directory is missing; what comes before is read")
        at, block, start = self._begin, b"", self._begin
        while at < self._end:
            if at + 3 * _LONGEST_COMMENT + _ENTRY.size > start + len(block):
                start, block = at, self._file.read_at(at, min(_BLOCK, self._end - at))
            member, length = self._entry(block, at - start, at)
            yield member
            at += length

    def member_at(self, place: int) -> Member:
        head = self._file.read_at(place, _ENTRY.size)
        if head.startswith(MAGIC):
            return self._local_member(place)
        if len(head) < _ENTRY.size:
            raise DamagedError("there is no member")
        length = _ENTRY.size + sum(_ENTRY.unpack(head)[8:11])
        return self._entry(self._file.read_at(place, length), 0, place)[0]

    def content(self, member: Member) -> Block:
        head = self._file.read_at(member.begin, len(MAGIC))
        if head != MAGIC:
            detail = "the archive has no member where its directory says"
            raise Refused(FailureCode.CORRUPT if head else FailureCode.TRUNCATED, detail)
        piece = Piece(self._file, self._data_of(member.begin), member.packed)
        return piece if member.method == _STORED else Inflated(piece, RAW)

    def _find_directory(self) -> bool:
        start = max(0, self._size - _LONGEST_COMMENT - _TAIL.size)
        tail = self._file.read_at(start, self._size - start)
        place = tail.rfind(_END)
        if place < 0 or len(tail) - place < _TAIL.size:
            return False
        _, disk, first_disk, _, _, size, begin, _ = _TAIL.unpack_from(tail, place)
        end = start + place
        locator = self._file.read_at(end - _LOCATOR.size, _LOCATOR.size) if end > 20 else b""
        if locator.startswith(_LOCATOR_64):
            end, size, begin = self._find_larger(end, _LOCATOR.unpack(locator)[2])
        elif disk or first_disk:
            raise DamagedError("it is a part of a split archive; join the parts first")
        self._begin, self._end = end - size, end
        self._shift = self._begin - begin
        if self._begin < 0 or self._shift < 0:
            raise DamagedError("its directory is not where its end says")
        return True

    def _find_larger(self, end: int, place: int) -> tuple[int, int, int]:
        """Return end, size and stated begin of the directory of a ZIP64."""
        for at in (place, end - _LOCATOR.size - _ENTRY_64.size):
            found = self._file.read_at(at, _ENTRY_64.size)
            if len(found) == _ENTRY_64.size and found.startswith(_END_64):
                _, _, _, size, begin = _ENTRY_64.unpack(found)
                return at, size, begin
        raise DamagedError("its directory is not where its end says")

    def _entry(self, block: bytes, offset: int, place: int) -> tuple[Member, int]:
        """Return a member and the length of its entry, which is at `offset` of a block."""
        if len(block) - offset < _ENTRY.size or not block.startswith(_DIRECTORY, offset):
            raise DamagedError("its directory is damaged")
        found = _ENTRY.unpack_from(block, offset)
        _, _, system, flags, method, crc, packed, size = found[:8]
        *lengths, _, attributes, begin = found[8:]
        name_at = offset + _ENTRY.size
        extra_at = name_at + lengths[0]
        extra = block[extra_at : extra_at + lengths[1]]
        if _UNKNOWN in (packed, size, begin):
            size, packed, begin = _larger(extra, size, packed, begin)
        name = _name(block[name_at:extra_at], flags)
        refusal = _refusal(flags, method, packed, size)
        if system == _UNIX and stat.S_ISLNK(attributes >> 16):
            refusal = FailureCode.NOT_A_FILE, "a link in an archive, which is not followed"
        member = Member(
            name, place, size, name.endswith(b"/"), begin + self._shift, packed, method, crc,
            refusal,
        )  # fmt: skip
        return member, _ENTRY.size + sum(lengths)

    def _without_directory(self) -> Iterator[Member]:
        """Yield the members by the headers before them."""
        at = 0
        while self._file.read_at(at, 4) == MAGIC:
            member = self._local_member(at)
            yield member
            end = self._data_of(at) + member.packed
            following = self._file.read_at(end, _DESCRIPTOR)
            at = end + max(0, following.find(MAGIC))

    def _local_member(self, place: int) -> Member:
        """Return a member by the header before it. Raises DamagedError where that is not enough."""
        head = self._file.read_at(place, _LOCAL_HEADER.size)
        if len(head) < _LOCAL_HEADER.size:
            raise DamagedError("it is cut off within a header")
        _, flags, method, crc, packed, size, name_length, extra_length = _LOCAL_HEADER.unpack(head)
        rest = self._file.read_at(place + len(head), name_length + extra_length)
        name = _name(rest[:name_length], flags)
        if _UNKNOWN in (packed, size):
            size, packed, _ = _larger(rest[name_length:], size, packed, 0)
        refusal = _refusal(flags, method, packed, size)
        if flags & _SIZES_BEHIND and not name.endswith(b"/"):
            if method != _DEFLATED or refusal:
                raise DamagedError("it is cut off, and does not say where its members end")
            size, packed = self._measured(place + len(head) + len(rest))
            return Member(name, place, size, False, place, packed, method)
        return Member(name, place, size, name.endswith(b"/"), place, packed, method, crc, refusal)

    def _measured(self, begin: int) -> tuple[int, int]:
        """Return the size of what is packed from `begin` on, unpacked and packed."""
        inflated = Inflated(Piece(self._file, begin, self._size - begin), RAW)
        size = 0
        with suppress(zlib.error):
            while size <= _LARGEST_UNKNOWN and (piece := inflated.read_at(size, _BLOCK)):
                size += len(piece)
            if inflated.has_ended:
                return size, inflated.taken
        # More than there is, so that its row says that it is cut off.
        return size + 1, self._size - begin

    def _data_of(self, place: int) -> int:
        """Return where the bytes behind a local header begin."""
        head = self._file.read_at(place, _LOCAL_HEADER.size).ljust(_LOCAL_HEADER.size, b"\0")
        name_length, extra_length = _LOCAL_HEADER.unpack(head)[-2:]
        return place + _LOCAL_HEADER.size + int(name_length) + int(extra_length)


def _larger(extra: bytes, size: int, packed: int, begin: int) -> tuple[int, int, int]:
    """Take the numbers that have no room in an entry from its extra field (4.5.3)."""
    at = 0
    while at + 4 <= len(extra):
        kind, length = struct.unpack_from("<HH", extra, at)
        if kind == _ZIP64:
            stated = extra[at + 4 : at + 4 + length]
            words = struct.iter_unpack("<Q", stated[: len(stated) // 8 * 8])
            size, packed, begin = (
                next(words, (number,))[0] if number == _UNKNOWN else number
                for number in (size, packed, begin)
            )
            break
        at += 4 + length
    return size, packed, begin


def _name(stated: bytes, flags: int) -> bytes:
    """Return a name in UTF-8 (4.4.4, appendix D); many programs write it without saying so."""
    if flags & _UTF_8:
        return stated
    try:
        stated.decode()
    except UnicodeDecodeError:
        return stated.decode("cp437").encode()
    return stated


def _refusal(flags: int, method: int, packed: int, size: int) -> tuple[FailureCode, str] | None:
    if flags & _ENCRYPTED:
        detail = "it is encrypted; unpack the archive with its password, and scan what comes out"
        return FailureCode.UNSUPPORTED, detail
    if method not in (_STORED, _DEFLATED):
        kind = _METHODS.get(method, f"number {method}")
        detail = f"packed by a method that is not read ({kind}); unpack the archive, and scan that"
        return FailureCode.UNSUPPORTED, detail
    if method == _STORED and packed != size:
        return FailureCode.CORRUPT, "the archive says two sizes for it"
    return None
