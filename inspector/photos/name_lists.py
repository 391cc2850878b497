"""Lists of photos: names in a file or in the standard input, or in a column of a Parquet file."""

from __future__ import annotations

import functools
import os
import shutil
import stat
import sys
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING

from inspector.core.spare import spare_file
from inspector.errors import SourceError
from inspector.photos.blocks import read_at
from inspector.photos.formats import MAGIC_BYTES, sniff

if TYPE_CHECKING:
    from collections.abc import Iterator

STANDARD_INPUT = "-"
_MARK = "@"
"""First letter of a source that is a list: `@photos.txt`."""
_BLOCK = 1 << 16
_BOM = b"\xef\xbb\xbf"
_UTF_16 = (b"\xff\xfe", b"\xfe\xff")
_PARQUET = b"PAR1"
_COLUMNS = ("uri", "path")
"""Of a Parquet file that is a list, the first that it has."""
_ROWS_AT_ONCE = 10_000


def is_list(source: str) -> bool:
    """Whether a source names a list; `./@name` and `./-` are files called so."""
    return source == STANDARD_INPUT or source.startswith(_MARK)


def names_in(source: str) -> Iterator[str]:
    """Yield the names in a list, in order; a piece of it is in memory at a time. Of a Parquet file
    they stand in the column `uri`, or else `path`. In a text, bytes that are not UTF-8 stay what
    they are, where the system has such names; a byte order mark, empty lines and Windows' line ends
    do not count. Raises SourceError for what cannot be read or is no list."""
    try:
        with _opened(source) as file:
            block = read_at(file, _BLOCK, 0)
            if block.startswith(_PARQUET):
                yield from _names_in_parquet(source, file)
                return
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
                block = read_at(file, _BLOCK, place)
                place += len(block)
            if name := rest.removesuffix(spare):
                yield os.fsdecode(name)
    except UnicodeDecodeError as error:
        raise SourceError(f"{source} is not in UTF-8; save it as UTF-8") from error
    except OSError as error:
        raise SourceError(
            f"cannot read the list {source}: {error.strerror or error}; ./{source} names a file "
            "called so"
        ) from error


def _names_in_parquet(source: str, descriptor: int) -> Iterator[str]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with open(os.dup(descriptor), "rb") as stream, pq.ParquetFile(stream) as file:
            column = next((name for name in _COLUMNS if name in file.schema_arrow.names), None)
            if column is None:
                raise SourceError(f"the list {source} has neither a column uri nor one path")
            for batch in file.iter_batches(_ROWS_AT_ONCE, columns=[column]):
                for name in batch.column(0).drop_null().to_pylist():
                    if not isinstance(name, str | bytes):
                        raise SourceError(f"the column {column} of the list {source} holds no text")
                    if name:
                        yield os.fsdecode(name)
    except pa.ArrowException as error:
        raise SourceError(f"cannot read the list {source}: {error}") from error


def _refuse_other(source: str, block: bytes) -> None:
    if block.startswith(_UTF_16):
        raise SourceError(f"{source} is in UTF-16, as PowerShell writes it; save it as UTF-8")
    if b"\0" in block and sniff(block[:MAGIC_BYTES]) is not None:
        raise SourceError(f"{source} is a photo, not a list of photos; ./{source} scans it")


@contextmanager
def _opened(source: str) -> Iterator[int]:
    """Open a list so that it can be read at any place."""
    if source == STANDARD_INPUT:
        yield _kept(source).fileno()
        return
    with open(_path(source), "rb", buffering=0) as file:
        regular = stat.S_ISREG(os.fstat(file.fileno()).st_mode)
        yield file.fileno() if regular else _kept(source).fileno()


@functools.cache
def _kept(source: str) -> IO[bytes]:
    """Copy a list that can be read only once into a temporary file, for all who read it."""
    kept = spare_file()
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
