"""Members of archives: what a kind of archive says about each, and its bytes as an open photo."""

from __future__ import annotations

import errno
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, Self

from inspector.photos.blocks import LARGEST
from inspector.photos.opened import Refused
from inspector.types import FailureCode, FileFacts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from inspector.photos.blocks import Block


class DamagedError(OSError):
    """An archive cannot be read from here on; the message says why."""

    def __init__(self, why: str) -> None:
        super().__init__(errno.EBADMSG, why)


@dataclass(frozen=True, slots=True)
class Member:
    """What an archive says about one of its files."""

    name: bytes
    place: int
    """Where the archive says this, by which it is found again."""
    size: int
    """Bytes, unpacked."""
    is_dir: bool = False
    begin: int = 0
    """Place of its bytes, or of the header before them."""
    packed: int = 0
    """Bytes that these take in the archive."""
    method: int = 0
    crc: int | None = None
    refusal: tuple[FailureCode, str] | None = None
    """Why it cannot be read."""

    def facts(self, changed_us: int) -> FileFacts:
        return FileFacts(min(self.size, LARGEST), changed_us)


class Archive(Protocol):
    """A kind of archive, opened."""

    is_stream: bool
    """Whether it can only be read from its beginning."""

    def members(self) -> Iterator[Member]:
        """Yield all members in the archive's order, nothing kept. Raises OSError, behind the last
        member that can be read where the archive is damaged."""

    def member_at(self, place: int) -> Member:
        """Return the member of that `place`. Raises DamagedError where there is none."""

    def content(self, member: Member) -> Block:
        """Return the member's bytes, of which there may be more or fewer than it says. Raises
        Refused, OSError."""


class MemberFile:
    """A member of an archive, as an open photo (`source.PhotoFile`). Reading raises Refused where
    its bytes are not those that were packed."""

    def __init__(self, block: Block, member: Member, changed_us: Callable[[], int]) -> None:
        self._block, self._member, self._changed_us = block, member, changed_us
        self._at = self._summed = self._sum = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        pass

    def facts(self) -> FileFacts:
        """The member's size, and the time at which the archive was written to last."""
        return self._member.facts(self._changed_us())

    def seek(self, offset: int) -> int:
        self._at = offset
        if offset == 0:
            self._summed = self._sum = 0
        return offset

    def read(self, count: int) -> bytes:
        """Read on; never more than the size that the archive says, whatever was packed."""
        left = self._member.size - self._at
        try:
            data = self._block.read_at(self._at, min(count, left)) if left > 0 else b""
            more = left <= count and self._block.read_at(self._member.size, 1)
        except zlib.error as error:
            raise Refused(FailureCode.CORRUPT, "it cannot be unpacked from its archive") from error
        if more:
            detail = f"the archive holds more than the {self._member.size:,} bytes that it says"
            raise Refused(FailureCode.CORRUPT, detail)
        if len(data) < min(count, left):
            detail = f"the archive has {self._at + len(data):,} of its {self._member.size:,} bytes"
            raise Refused(FailureCode.TRUNCATED, detail)
        if self._at == self._summed and self._member.crc is not None:
            self._check(data)
        self._at += len(data)
        return data

    def _check(self, data: bytes) -> None:
        """Compare with the archive's checksum what is read from the beginning to the end."""
        self._sum = zlib.crc32(data, self._sum)
        self._summed += len(data)
        if self._summed == self._member.size and self._sum != self._member.crc:
            detail = "it is damaged: the archive's checksum is another"
            raise Refused(FailureCode.CORRUPT, detail)
