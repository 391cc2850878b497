"""A file's bytes, with what is true about the file that they came from."""

from __future__ import annotations

import errno
import os
import stat
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from inspector.photos.content import open_without_waiting
from inspector.types import Failure, FailureCode, ImageRef

if TYPE_CHECKING:
    from typing import BinaryIO

    from inspector.photos.limits import DecodeLimits

_ATTEMPTS = 2
"""A file that was written to while it was read is read again, once."""

_CHUNK = 1 << 20
"""Bytes asked for at a time beyond the size that a file claims to have."""

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
"""What an error number says about a file; any other says that the storage failed."""


@dataclass(frozen=True, slots=True)
class Contents:
    """All bytes of a file; `ref` has the size and time of the file that they were read from, which
    may not be those of the listing any more."""

    ref: ImageRef
    data: bytes


def read(ref: ImageRef, limits: DecodeLimits) -> Contents | Failure:
    """Read the regular file that `ref` names; never blocks on a pipe or device, never reads more
    than one byte beyond `limits.max_bytes`, never raises for what a file can be."""
    try:
        for _ in range(_ATTEMPTS):
            if not stat.S_ISREG(os.stat(ref.path).st_mode):  # to open a pipe disturbs its writer
                return _not_a_file(ref)
            outcome = _read_once(ref, limits)
            if outcome is not None:
                return outcome
    except OSError as error:
        code = _CODES.get(error.errno or 0, FailureCode.IO_ERROR)
        return Failure(ref, code, error.strerror or type(error).__name__)
    except MemoryError:
        return Failure(ref, FailureCode.TOO_LARGE, "reading it needs more memory than there is")
    except ValueError as error:  # a name with a NUL byte, which no file can have
        return Failure(ref, FailureCode.VANISHED, str(error))
    return Failure(ref, FailureCode.CHANGED, "written to while it was read, twice in a row")


def _read_once(ref: ImageRef, limits: DecodeLimits) -> Contents | Failure | None:
    """None when the file changed meanwhile."""
    with open(ref.path, "rb", opener=open_without_waiting) as file:
        before = os.fstat(file.fileno())
        if not stat.S_ISREG(before.st_mode):
            return _not_a_file(ref)
        ref = _as_found(ref, before)
        if before.st_size > limits.max_bytes:
            return _too_many_bytes(ref, limits)
        data = _up_to(file, before.st_size, limits.max_bytes + 1)
        after = os.fstat(file.fileno())
    if len(data) > limits.max_bytes:
        return _too_many_bytes(ref, limits)
    if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
        return None
    if len(data) < before.st_size:
        detail = f"the storage gave {len(data):,} of {before.st_size:,} bytes"
        return Failure(ref, FailureCode.IO_ERROR, detail)
    return Contents(ref, data) if data else Failure(ref, FailureCode.EMPTY, "0 bytes")


def _up_to(file: BinaryIO, size: int, most: int) -> bytes:
    """At most `most` bytes of a file that claims to have `size`. Some have more: those that grow,
    and those of virtual file systems that claim 0."""
    data = file.read(min(size + 1, most))
    if len(data) <= size:
        return data
    chunks = [data]
    left = most - len(data)
    while left > 0 and (chunk := file.read(min(_CHUNK, left))):
        chunks.append(chunk)
        left -= len(chunk)
    return b"".join(chunks)


def _as_found(ref: ImageRef, about: os.stat_result) -> ImageRef:
    size, mtime_us = about.st_size, about.st_mtime_ns // 1000
    if (ref.size, ref.mtime_us) == (size, mtime_us):
        return ref
    return replace(ref, size=size, mtime_us=mtime_us)


def _not_a_file(ref: ImageRef) -> Failure:
    return Failure(ref, FailureCode.NOT_A_FILE, "not a regular file")


def _too_many_bytes(ref: ImageRef, limits: DecodeLimits) -> Failure:
    return Failure(
        ref, FailureCode.TOO_LARGE, f"more than {limits.max_bytes:,} bytes (--max-bytes)"
    )
