"""Lists of photos: files with a name per line, or with names that end in a zero byte."""

from __future__ import annotations

import functools
import os
import shutil
import stat
import sys
import tempfile
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING

from inspector.errors import SourceError
from inspector.photos.formats import MAGIC_BYTES, sniff

if TYPE_CHECKING:
    from collections.abc import Iterator

STANDARD_INPUT = "-"
_MARK = "@"
"""Begins a source that is a list's name: `@photos.txt`."""
_BLOCK = 1 << 16
_BOM = b"\xef\xbb\xbf"
_UTF_16 = (b"\xff\xfe", b"\xfe\xff")


def is_list(source: str) -> bool:
    """Whether a source names a list; `./@name` and `./-` are files called so."""
    return source == STANDARD_INPUT or source.startswith(_MARK)


def names_in(source: str) -> Iterator[str]:
    """The names that a list holds, in its order; a piece of it is in memory at a time. Bytes that
    are not UTF-8 stay what they are; a byte order mark, empty lines and Windows' line ends do not
    count. Raises SourceError for what cannot be read or is no list."""
    try:
        with _opened(source) as file:
            block = os.pread(file, _BLOCK, 0)
            _refuse_other(source, block)
            end, spare = (b"\0", b"") if b"\0" in block else (b"\n", b"\r")
            place, rest = len(block), b""
            block = block.removeprefix(_BOM)
            while block:
                if end == b"\n" and b"\0" in block:
                    raise SourceError(f"{source} has names that end in a line and in a zero byte")
                *lines, rest = (rest + block).split(end)
                if len(rest) > _BLOCK:
                    raise SourceError(f"{source} is no list of names: one goes on for ever")
                yield from (
                    os.fsdecode(name) for line in lines if (name := line.removesuffix(spare))
                )
                block = os.pread(file, _BLOCK, place)
                place += len(block)
            if name := rest.removesuffix(spare):
                yield os.fsdecode(name)
    except OSError as error:
        raise SourceError(
            f"cannot read the list {source}: {error.strerror or error}; ./{source} names a file "
            "called so"
        ) from error


class Once:
    """Tells which addresses are met for the first time: in little memory, and on disk beyond."""

    def __init__(self) -> None:
        import sqlite3

        self.repeated = 0
        self._error = sqlite3.Error
        self._db = sqlite3.connect("", isolation_level=None, check_same_thread=False)
        for setting in ("journal_mode=OFF", "synchronous=OFF", "cache_size=-16000"):
            self._db.execute(f"PRAGMA {setting}")
        self._db.execute("CREATE TABLE met (uri TEXT PRIMARY KEY) WITHOUT ROWID")
        self._db.execute("BEGIN")

    def meets(self, uri: str) -> bool:
        """Raises SourceError where there is no room for temporary files."""
        try:
            new = self._db.execute("INSERT OR IGNORE INTO met VALUES (?)", (uri,)).rowcount == 1
        except self._error as error:
            raise SourceError(
                f"cannot note in a temporary file what was met ({error}); point TMPDIR to a "
                "directory with room"
            ) from error
        self.repeated += not new
        return new


def _refuse_other(source: str, block: bytes) -> None:
    if block.startswith(_UTF_16):
        raise SourceError(f"{source} is in UTF-16, as PowerShell writes it; save it as UTF-8")
    if b"\0" in block and sniff(block[:MAGIC_BYTES]) is not None:
        raise SourceError(f"{source} is a photo, not a list of photos; ./{source} scans it")


@contextmanager
def _opened(source: str) -> Iterator[int]:
    """A descriptor from which a list can be read at any place."""
    if source == STANDARD_INPUT:
        yield _kept(source).fileno()
        return
    with open(_path(source), "rb", buffering=0) as file:
        regular = stat.S_ISREG(os.fstat(file.fileno()).st_mode)
        yield file.fileno() if regular else _kept(source).fileno()


@functools.cache
def _kept(source: str) -> IO[bytes]:
    """What can be read only once, in a temporary file for all who read it."""
    kept = tempfile.TemporaryFile()  # noqa: SIM115
    if source != STANDARD_INPUT:
        with open(_path(source), "rb") as file:
            shutil.copyfileobj(file, kept)
    elif sys.stdin is None or sys.stdin.isatty():
        raise SourceError("the list - is the standard input, and nothing is piped into that")
    else:
        shutil.copyfileobj(sys.stdin.buffer, kept)
    kept.flush()
    return kept


def _path(source: str) -> str:
    return os.path.expanduser(source.removeprefix(_MARK))
