"""The bytes of an open file, the bounds on them, and what stands for them where they cannot be
had."""

from __future__ import annotations

import errno
import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self, TypeAlias

from inspector.errors import UsageError
from inspector.types import FailureCode

if TYPE_CHECKING:
    from inspector.photos.source import PhotoFile
    from inspector.types import FileFacts

_CODES = {
    **dict.fromkeys((errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ESTALE), FailureCode.VANISHED),
    **dict.fromkeys((errno.EACCES, errno.EPERM), FailureCode.PERMISSION),
    **dict.fromkeys((errno.ENXIO, errno.ENODEV, errno.EISDIR), FailureCode.NOT_A_FILE),
    errno.EBADMSG: FailureCode.CORRUPT,
}
"""Failure codes by error number; any other says that the storage failed."""
_LONGEST_SIDE = 2**31 - 1
"""The largest number that fits the table's `width` and `height`."""
TOO_MANY = "its picture has more pixels than --max-pixels allows"
"""Said by whoever refuses it first, which is Pillow where nobody has told it to allow more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DecodeLimits:
    """Bounds that a file must keep to; beyond them it becomes a failed row, not a stopped scan.
    Raises UsageError when a bound cannot be right."""

    max_pixels: int = 180_000_000
    """Width times height by the header; the default is close to Pillow's own bound."""
    max_bytes: int = 1 << 30
    """Size of the file, checked before reading."""
    max_seconds: float = 60.0
    """Time to read and decode; kept where a process of its own decodes, which can be ended."""

    def __post_init__(self) -> None:
        for name in ("max_pixels", "max_bytes", "max_seconds"):
            if not getattr(self, name) > 0:
                option = name.replace("_", "-")
                raise UsageError(f"--{option} {getattr(self, name)} is not above 0")

    def refuse_huge(self, width: int, height: int) -> None:
        """Raise Refused for a picture of so many pixels, or of none."""
        if width < 1 or height < 1:
            raise Refused(FailureCode.CORRUPT, f"the header says {width} x {height} pixels")
        if width * height > self.max_pixels or max(width, height) > _LONGEST_SIDE:
            raise Refused(FailureCode.TOO_LARGE, TOO_MANY)


class Refused(Exception):
    """Carries the failure code from where a file is refused to where its row is made."""

    def __init__(self, code: FailureCode, detail: str) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail


def storage_failure(error: OSError) -> tuple[FailureCode, str]:
    """Return the code for what the operating system says about a file, and its words."""
    code = _CODES.get(error.errno or 0, FailureCode.IO_ERROR)
    return code, error.strerror or type(error).__name__


class Pieces(io.RawIOBase):
    """Bytes that lie elsewhere, read when they are asked for: a slice (`self[begin:end]`, which a
    subclass gives), or as a file."""

    _at = 0

    def __len__(self) -> int:
        raise NotImplementedError

    def __getitem__(self, part: slice) -> bytes:
        raise NotImplementedError

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = max(0, offset + (0, self._at, len(self))[whence])
        return self._at

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        found = self[self._at : self._at + len(buffer)]
        buffer[: len(found)] = found
        self._at += len(found)
        return len(found)


class OpenBytes(Pieces):
    """The bytes of a file that stays open."""

    def __init__(self, file: PhotoFile, facts: FileFacts) -> None:
        self._file = file
        self._facts = facts
        self._head = b""

    def __len__(self) -> int:
        return self._facts.size or 0

    def __getitem__(self, part: slice) -> bytes:
        begin, end, _ = part.indices(len(self))
        try:
            self._file.seek(begin)
            found = self._file.read(max(end - begin, 0))
        except OSError as error:
            raise Refused(*storage_failure(error)) from error
        other = self._head[begin:end]
        return other + found[len(other) :]

    def with_head(self, head: bytes) -> Self:
        """Take these as the first bytes, whatever the file has there."""
        self._head = head
        return self

    def has_changed(self) -> bool:
        """Whether the file is another than when its content was hashed."""
        try:
            return self._file.facts() != self._facts
        except OSError:
            return True

    def close(self) -> None:
        if not self.closed:
            self._file.__exit__(None, None, None)
        super().close()


Bytes: TypeAlias = bytes | OpenBytes
"""The bytes of a photo, in memory or in an open file."""
