"""Regular files only: never through a link, never waiting on a pipe."""

from __future__ import annotations

import errno
import os
import stat
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from io import BufferedReader
    from pathlib import Path

_CAREFUL = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)


class NotAFileError(OSError):
    """The path is a directory, link, pipe, socket or device."""

    def __init__(self, path: str) -> None:
        what = f"{os.path.basename(path)} is not a regular file"
        super().__init__(errno.EINVAL, what, path)


def plain(path: str, flags: int) -> int:
    """Opener for `open(opener=...)` that opens or creates a regular file. Raises NotAFileError,
    OSError."""
    if os.path.lexists(path) and not stat.S_ISREG(os.lstat(path).st_mode):
        raise NotAFileError(path)  # opening a device may do something
    descriptor = os.open(path, flags | _CAREFUL, 0o666)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise NotAFileError(path)
    return descriptor


@contextmanager
def opened(path: Path) -> Iterator[BufferedReader]:
    """Open a regular file for reading. Raises NotAFileError, OSError."""
    with open(path, "rb", opener=plain) as stream:
        yield stream


def read_plain(path: Path) -> bytes:
    """Read a whole regular file. Raises NotAFileError, OSError."""
    with opened(path) as stream:
        return stream.read()
