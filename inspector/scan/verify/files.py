"""Reading what may not be what its name says: never through a link, never waiting on a pipe."""

from __future__ import annotations

import errno
import os
import stat
from contextlib import contextmanager
from typing import TYPE_CHECKING

from inspector.layout import TABLE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from io import BufferedReader
    from pathlib import Path

_FLAGS = (
    os.O_RDONLY
    | getattr(os, "O_NONBLOCK", 0)
    | getattr(os, "O_NOFOLLOW", 0)
    | getattr(os, "O_BINARY", 0)
)


class NotAFileError(OSError):
    """What is there is a directory, link, pipe, socket or device."""

    def __init__(self, path: str | Path) -> None:
        super().__init__(errno.EINVAL, "not a regular file", str(path))


@contextmanager
def opened(path: str | Path) -> Iterator[BufferedReader]:
    """A regular file, to read. Raises NotAFileError, OSError."""
    if not stat.S_ISREG(os.lstat(path).st_mode):  # opening a device may do something
        raise NotAFileError(path)
    with open(os.open(path, _FLAGS), "rb") as stream:
        if not stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
            raise NotAFileError(path)
        yield stream


def read_plain(path: str | Path) -> bytes:
    """All of a regular file. Raises NotAFileError, OSError."""
    with opened(path) as stream:
        return stream.read()


def files_below(out: Path) -> Iterator[tuple[str, os.DirEntry[str]]]:
    """What readers take for files of the table, with the path relative to `out`.

    `pyarrow.dataset` enters directories and takes whatever is in them, whatever the suffix,
    except for names that begin with `_` or `.`; DuckDB's `OUT/**/*.parquet` takes those as well;
    others want nothing but Parquet files in `OUT/table`. Raises OSError for `out`; a directory
    below it that cannot be listed is itself yielded.
    """
    waiting: list[tuple[str, str, bool, os.DirEntry[str] | None]]
    waiting = [("", os.fspath(out), False, None)]
    while waiting:
        prefix, folder, hidden, itself = waiting.pop()
        try:
            with os.scandir(folder) as listing:
                entries = sorted(listing, key=lambda entry: entry.name)
        except OSError:
            if itself is None:
                raise
            if not hidden:
                yield prefix, itself
            continue
        for entry in entries:
            below = hidden or entry.name.startswith(("_", "."))
            if entry.is_dir(follow_symlinks=False):
                waiting.append((f"{prefix}{entry.name}/", entry.path, below, entry))
            elif not below or prefix == f"{TABLE}/" or entry.name.endswith(".parquet"):
                yield prefix + entry.name, entry
