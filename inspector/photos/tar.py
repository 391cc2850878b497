"""Tar archives, plain or in gzip, read in place: POSIX, GNU and the old ones."""

from __future__ import annotations

import tarfile
import zlib
from typing import TYPE_CHECKING

from inspector.photos.blocks import GZIP, GZIP_MAGIC, HeldPiece, Inflated, Piece
from inspector.photos.members import DamagedError, Member
from inspector.types import FailureCode

if TYPE_CHECKING:
    from collections.abc import Iterator

    from inspector.photos.blocks import Block

_RECORD = tarfile.BLOCKSIZE
_LONGEST_EXTENSION = 1 << 20
"""Bytes of a name, or of pax fields, that are believed."""
_MOST_EXTENSIONS = 16
_LONGEST_MAP = 1 << 24
"""Bytes of a sparse file's headers: 700,000 pieces."""
_LONGEST_NUMBER = 20
_LINKS = (tarfile.LNKTYPE, tarfile.SYMTYPE)
_NO_FILES = (*_LINKS, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE)
_SPARSE = "a sparse file in an archive; unpack the archive, and scan that"
_MOST_PACKED = 4 << 30
"""Bytes; what comes last in a larger one takes longer to reach than a photo may take."""
_MOST_HELD = 64 << 20
"""Bytes of a packed member that is unpacked at once, so that threads do not take turns."""
_MOST_TIMES, _ALLOWED = 200, 1 << 30
"""Bytes that a packed one may give for each of its own, beyond those allowed to any: photos give
hardly more than one."""


def begins(head: bytes) -> bool:
    """Whether these first bytes (`_RECORD` of them) are those of a tar, plain or in gzip."""
    if head.startswith(GZIP_MAGIC):
        return True
    try:
        tarfile.TarInfo.frombuf(head, "utf-8", "surrogateescape")
    except tarfile.HeaderError:
        return False
    return True


class TarArchive:
    """An `Archive`. Raises DamagedError for a file that is none, OSError."""

    def __init__(self, file: Block, size: int) -> None:
        self.is_stream = file.read_at(0, 2) == GZIP_MAGIC
        if self.is_stream and size > _MOST_PACKED:
            raise DamagedError(
                f"packed in gzip it can only be read from its beginning, for which {size:,} bytes "
                "are too many; unpack it to a plain .tar (gunzip)"
            )
        self._end = _ALLOWED + _MOST_TIMES * size if self.is_stream else size
        self._block: Block = Inflated(file, GZIP) if self.is_stream else file
        self._header(0)

    def members(self) -> Iterator[Member]:
        at = 0
        while header := self._header(at):
            member, end = self._extended(header, at)
            yield member
            if end > self._end:
                raise DamagedError(
                    "it gives more bytes than photos do" if self.is_stream
                    else "it is cut off within a member; what comes before is read"
                )  # fmt: skip
            at = end

    def member_at(self, place: int) -> Member:
        header = self._header(place)
        if header is None:
            raise DamagedError("there is no member")
        return self._extended(header, place)[0]

    def content(self, member: Member) -> Block:
        kind = HeldPiece if self.is_stream and member.size <= _MOST_HELD else Piece
        return kind(self._block, member.begin, member.size)

    def _read(self, at: int, count: int) -> bytes:
        try:
            return self._block.read_at(at, count)
        except zlib.error as error:
            raise DamagedError("it is damaged: it cannot be unpacked from here on") from error

    def _header(self, at: int) -> tarfile.TarInfo | None:
        """Read the header at a place; None where the archive ends."""
        record = self._read(at, _RECORD)
        try:
            return tarfile.TarInfo.frombuf(record, "utf-8", "surrogateescape")
        except tarfile.EOFHeaderError:  # type: ignore[attr-defined]
            return None
        except tarfile.HeaderError as error:
            if at == 0:
                raise DamagedError("it is no tar") from error
            cut = len(record) < _RECORD
            what = "it is cut off" if cut else "it is damaged: a header is none"
            raise DamagedError(f"{what}; what comes before is read") from error

    def _extended(self, header: tarfile.TarInfo, place: int) -> tuple[Member, int]:
        """Return the member whose headers begin at `place`, and where the next ones do."""
        at, name, size, sparse = place, None, None, False
        for _ in range(_MOST_EXTENSIONS):
            at += _RECORD
            if header.type == tarfile.GNUTYPE_LONGNAME:
                name = self._extension(header, at).rstrip(b"\0")
            elif header.type in (tarfile.XHDTYPE, tarfile.SOLARIS_XHDTYPE):
                fields = _pax_fields(self._extension(header, at))
                name = fields.get(b"path", name)
                size = fields.get(b"size", size)
                sparse = sparse or any(key.startswith(b"GNU.sparse") for key in fields)
            elif header.type in (tarfile.GNUTYPE_LONGLINK, tarfile.XGLTYPE):
                self._extension(header, at)
            else:
                break
            at = _padded(at, header.size)
            following = self._header(at)
            if following is None:
                raise DamagedError("it ends within the description of a member")
            header = following
        else:
            raise DamagedError("it is damaged: the description of a member does not end")
        if header.type == tarfile.GNUTYPE_SPARSE:
            sparse, at = True, self._behind_sparse(at)
        stated = header.name.encode("utf-8", "surrogateescape") if name is None else name
        is_dir = header.isdir()
        length = header.size if size is None else _number(size)
        if header.type in _NO_FILES or is_dir:
            length = 0
        if length < 0:
            raise DamagedError("it is damaged: a member has less than no bytes")
        refusal = (FailureCode.UNSUPPORTED, _SPARSE) if sparse else None
        if header.type in _NO_FILES:
            what = "a link" if header.type in _LINKS else "a device or pipe"
            refusal = FailureCode.NOT_A_FILE, f"{what} in an archive, which is not followed"
        member = Member(stated, place, length, is_dir, at, length, refusal=refusal)
        return member, _padded(at, length)

    def _extension(self, header: tarfile.TarInfo, at: int) -> bytes:
        if not 0 <= header.size <= _LONGEST_EXTENSION:
            raise DamagedError("it is damaged: the description of a member is too long")
        return self._read(at, header.size)

    def _behind_sparse(self, at: int) -> int:
        """Return the place behind the further headers of GNU's old sparse files."""
        end, flag = at + _LONGEST_MAP, 482
        while self._read(at - _RECORD + flag, 1) not in (b"\0", b""):
            at, flag = at + _RECORD, 504
            if at > end:
                raise DamagedError("it is damaged: the description of a member is too long")
        return at


def _pax_fields(data: bytes) -> dict[bytes, bytes]:
    """Return the fields of a pax header (POSIX.1-2017, pax, extended header)."""
    fields, at = {}, 0
    while at < len(data):
        digits, _, _ = data[at : at + 20].partition(b" ")
        if not digits.isdigit() or not 0 < int(digits) <= len(data) - at:
            break
        record = data[at + len(digits) + 1 : at + int(digits)]
        key, _, value = record.removesuffix(b"\n").partition(b"=")
        fields[key] = value
        at += int(digits)
    return fields


def _number(digits: bytes) -> int:
    """Return a number of a pax header; -1 for what is none."""
    return int(digits) if digits.isdigit() and len(digits) < _LONGEST_NUMBER else -1


def _padded(begin: int, size: int) -> int:
    return begin + -(-size // _RECORD) * _RECORD
