"""Reading a photo's bytes from any source, within limits, with the facts of that very file."""

from __future__ import annotations

import errno
import hashlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from inspector.errors import UsageError
from inspector.photos.source import source_of
from inspector.types import Failure, FailureCode, ImageRef

if TYPE_CHECKING:
    from inspector.photos.source import PhotoFile
    from inspector.types import FailureCode


_ATTEMPTS = 2
"""A file that was written to while it was read is read again, once."""

_CHUNK = 1 << 20
"""Bytes read at a time beyond the size that a file claims to have."""

_CODES = {
    errno.ENOENT: FailureCode.VANISHED,
    errno.ENOTDIR: FailureCode.VANISHED,
    errno.ELOOP: FailureCode.VANISHED,
    errno.ESTALE: FailureCode.VANISHED,
    errno.EACCES: FailureCode.PERMISSION,
    errno.EPERM: FailureCode.PERMISSION,
    errno.ENXIO: FailureCode.NOT_A_FILE,
    errno.ENODEV: FailureCode.NOT_A_FILE,
    errno.EISDIR: FailureCode.NOT_A_FILE,
}
"""Failure codes by error number; any other says that the storage failed."""


@dataclass(frozen=True, slots=True)
class Contents:
    """All bytes of a file; `ref` has the size and time of the file that they were read from, which
    may not be those of the listing any more."""

    ref: ImageRef
    data: bytes


def read(ref: ImageRef, limits: DecodeLimits) -> Contents | Failure:
    """Read the photo that `ref` names; never blocks on a pipe or device, never reads more than one
    byte beyond `limits.max_bytes`, never raises for what a file can be."""
    try:
        source = source_of(ref.path)
        for _ in range(_ATTEMPTS):
            with source.open(ref.path) as file:
                outcome = _read_once(file, ref, limits)
            if outcome is not None:
                return outcome
    except Refused as refusal:
        return Failure(ref, refusal.code, refusal.detail)
    except OSError as error:
        code = _CODES.get(error.errno or 0, FailureCode.IO_ERROR)
        return Failure(ref, code, error.strerror or type(error).__name__)
    except MemoryError:
        return Failure(ref, FailureCode.TOO_LARGE, "reading it needs more memory than there is")
    except ValueError as error:  # a name with a NUL byte, which no file can have
        return Failure(ref, FailureCode.VANISHED, str(error))
    return Failure(ref, FailureCode.CHANGED, "written to while it was read, twice in a row")


def sha256_within(address: str, max_bytes: int) -> bytes | None:
    """Compute the sha256 of a photo, read a piece at a time; None where it has more than
    `max_bytes` or cannot be read. Never waits on a pipe."""
    try:
        with source_of(address).open(address) as file:
            if (file.facts().size or 0) > max_bytes:
                return None
            return hashlib.file_digest(file, "sha256").digest()
    except (OSError, ValueError, Refused):
        return None


def _read_once(file: PhotoFile, ref: ImageRef, limits: DecodeLimits) -> Contents | Failure | None:
    """Return None when the file changed meanwhile."""
    before = file.facts()
    if (ref.size, ref.mtime_us) != (before.size, before.mtime_us):
        ref = replace(ref, size=before.size, mtime_us=before.mtime_us)
    size = before.size or 0
    data = b"" if size > limits.max_bytes else _up_to(file, size, limits.max_bytes + 1)
    if max(size, len(data)) > limits.max_bytes:
        detail = f"more than {limits.max_bytes:,} bytes (--max-bytes)"
        return Failure(ref, FailureCode.TOO_LARGE, detail)
    if before != file.facts():
        return None
    if len(data) < size:
        detail = f"the storage gave {len(data):,} of {size:,} bytes"
        return Failure(ref, FailureCode.IO_ERROR, detail)
    return Contents(ref, data) if data else Failure(ref, FailureCode.EMPTY, "0 bytes")


def _up_to(file: PhotoFile, size: int, most: int) -> bytes:
    """Read at most `most` bytes of a file that claims to have `size`. Some have more: those that
    grow, and those of virtual file systems that claim 0."""
    data = file.read(min(size + 1, most))
    if len(data) <= size:
        return data
    chunks = [data]
    left = most - len(data)
    while left > 0 and (chunk := file.read(min(_CHUNK, left))):
        chunks.append(chunk)
        left -= len(chunk)
    return b"".join(chunks)


@dataclass(frozen=True, slots=True, kw_only=True)
class DecodeLimits:
    """Bounds that a file must keep to; beyond them it becomes a failed row, not a stopped scan.
    Raises UsageError when a bound cannot be right."""

    max_pixels: int = 178_956_970
    """Width times height by the header; the default is Pillow's own decompression-bomb limit."""
    max_bytes: int = 1 << 30
    """Size of the file, checked before reading."""
    max_seconds: float = 60.0
    """Time to read and decode; kept where a process of its own decodes, which can be ended."""

    def __post_init__(self) -> None:
        for name in ("max_pixels", "max_bytes", "max_seconds"):
            if not getattr(self, name) > 0:
                option = name.replace("_", "-")
                raise UsageError(f"--{option} {getattr(self, name)} is not above 0")


class Refused(Exception):
    """Carries the failure code from where a file is refused to where its row is made."""

    def __init__(self, code: FailureCode, detail: str) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail
