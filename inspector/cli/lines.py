"""The lines of `--jsonl`: each row as JSON, written and on disk before the row is committed."""

from __future__ import annotations

import json
import os
import stat
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from inspector.core.durable import add_synced, add_to
from inspector.core.text import is_closed_pipe, refusal
from inspector.errors import OutputError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from io import FileIO

    Write = Callable[[Sequence[Mapping[str, Any]]], object]

_BEGIN = b'{"uri": "'
"""Of every line."""
_LONGEST = 4 << 20
"""Bytes of a line at most."""
_KEPT = "what is done is kept; put that right and run the same command again"


@contextmanager
def lines_to(place: str | None) -> Iterator[Write | None]:
    """What writes rows as lines to a file or, as `-`, the standard output, at once; None where
    nobody wants them. Who stops reading a pipe does not stop it.

    Raises OutputError, as what it yields does, where lines cannot be written. Their rows are not
    committed then, so that none ever lacks its line."""
    if place is None:
        yield None
    elif place == "-":
        yield _print
    else:
        with _reporting(place):
            stream = open(place, "ab", buffering=0)  # noqa: SIM115
        with stream:
            with _reporting(place):
                write = _adding(stream, place)

            def lines(rows: Sequence[Mapping[str, Any]]) -> None:
                with _reporting(place):
                    write(_text(rows).encode("ascii"))

            yield lines


def _text(rows: Sequence[Mapping[str, Any]]) -> str:
    from inspector.results.schema import json_line

    return "".join(map(json_line, rows))


def _print(rows: Sequence[Mapping[str, Any]]) -> None:
    sys.stdout.write(_text(rows))
    sys.stdout.flush()
    error = refusal(sys.stdout)
    if error is not None and not is_closed_pipe(error):
        raise OutputError(f"cannot write to standard output: {error.strerror}; {_KEPT}")


def _adding(stream: FileIO, place: str) -> Callable[[bytes], None]:
    """What adds to an open file, once its last line is whole, or to a pipe or a device."""
    if stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
        _mend(place)
        return lambda content: add_synced(content, stream)

    def add(content: bytes) -> None:
        try:
            add_to(stream, content)
        except OSError as error:
            if not is_closed_pipe(error):
                raise

    return add


def _mend(place: str) -> None:
    """Remove what a crash has left of a line: its row was not committed, and is made again. A line
    that only lacks its end gets one. Raises OutputError for a file of other things."""
    with open(place, "rb+", buffering=0) as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - _LONGEST))
        last = file.read().rpartition(b"\n")[2]
        if not last:
            return
        try:
            json.loads(last)
            file.write(b"\n")
        except ValueError:
            if not last.startswith(_BEGIN[: len(last)]):
                raise OutputError(
                    f"{place} holds something else than lines of JSON; name another file"
                ) from None
            file.truncate(size - len(last))


@contextmanager
def _reporting(place: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise OutputError(f"cannot write {place}: {error.strerror or error}; {_KEPT}") from error
