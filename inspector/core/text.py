"""Text for a terminal: safe to print, wrapped to its width, on standard streams that never fail."""

from __future__ import annotations

import atexit
import errno
import io
import os
import re
import select
import shlex
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Iterable, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, TextIO, cast

if TYPE_CHECKING:
    from collections.abc import Iterator


WIDTH = 80
"""Columns to use at most."""
TITLE = 11
"""Columns of the title at the start of a summary line."""
_CLOSED_PIPE = {errno.EPIPE, errno.EINVAL} if os.name == "nt" else {errno.EPIPE}
_EPOCH = datetime(1970, 1, 1)
_FIRST_US, _LAST_US = (
    (moment - _EPOCH) // timedelta(microseconds=1) for moment in (datetime.min, datetime.max)
)


class Whole(str):
    """A line that users copy, such as a command or an address; it is never wrapped."""

    __slots__ = ()


def printable(text: str) -> str:
    """Escape everything in a text from outside (a file name, an error) that is not printable: line
    breaks, and what would control the terminal."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def quantity(number: int, one: str, more: str = "") -> str:
    """A number and what is counted: `1 photo`, `2,000 photos`; `more` where that is no `s` more."""
    return f"{number:,} {one if number == 1 else more or f'{one}s'}"


def display_path(path: str) -> str:
    r"""A path as text: bytes that are not UTF-8 as \xNN. Control characters stay; who prints it
    makes them harmless."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def quoted_word(word: str, *, windows: bool = os.name == "nt") -> str:
    """Quote a word of a command for the shell that its reader has, as far as it has to be."""
    return subprocess.list2cmdline([word]) if windows else shlex.quote(word)


def calendar_us(time_us: int | None) -> int | None:
    """Microseconds since the epoch; None for times that no calendar has, which a damaged file
    system can report."""
    if time_us is None or not _FIRST_US <= time_us <= _LAST_US:
        return None
    return time_us


def calendar_time(time_us: int | None) -> datetime | None:
    """Convert microseconds since the epoch, as `calendar_us`, to UTC without a time zone."""
    known_us = calendar_us(time_us)
    return None if known_us is None else _EPOCH + timedelta(microseconds=known_us)


def columns() -> int:
    """Width of the terminal that somebody looks at, wherever the output goes, or `$COLUMNS`;
    `WIDTH` if there is none."""
    for stream in (sys.__stdout__, sys.__stderr__, sys.__stdin__):
        with suppress(AttributeError, ValueError, OSError):  # none, closed, no terminal
            size = os.get_terminal_size(cast(TextIO, stream).fileno())
            if size.columns:
                return shutil.get_terminal_size(size).columns
    return shutil.get_terminal_size((WIDTH, 24)).columns


def _line() -> int:
    """Columns of a wrapped line, one less than fit: a full line looks cut off."""
    return min(WIDTH, columns()) - 1


def wrapped(title: str, text: str, indent: int = TITLE, *, width: int | None = None) -> list[str]:
    """Wrap a title and the paragraph beside it, which may quote text from outside, to `width`
    columns or those of the terminal. Words stay whole, paths and options too."""
    return textwrap.wrap(
        printable(f"{title:<{indent}}{text}"),
        width or _line(),
        subsequent_indent=" " * indent,
        break_long_words=False,
        break_on_hyphens=False,
    )


def plain_table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Lay out a table, its first column aligned left.

    A first cell that is too wide gets a line of its own; if the other columns do not fit side by
    side, each row becomes a paragraph that names them.
    """
    cells = [list(map(printable, row)) for row in (heads, *rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    room = _line() - sum(width + 2 for width in widths[1:])
    if room < 0:
        return [line for row in rows for line in _paragraph(heads, row)]
    lines: list[str] = []
    for first, *others in cells:
        figures = "".join(
            f"  {text:>{width}}" for text, width in zip(others, widths[1:], strict=True)
        )
        if len(first) > room:
            lines += [*wrapped("", first, 0), (" " * room + figures).rstrip()]
        else:
            lines.append(f"{first:<{min(room, widths[0])}}{figures}".rstrip())
    return lines


def _paragraph(heads: Sequence[str], row: Sequence[str]) -> list[str]:
    named = [f"{head} {text}".strip() for head, text in zip(heads[1:], row[1:], strict=True)]
    return wrapped(f"{row[0]}: ", ", ".join(filter(None, named)), 2)


def print_lines(lines: Iterable[str], *, to_stderr: bool = False) -> None:
    """Print lines that may quote text from outside. On a terminal long lines are wrapped between
    words, with a hanging indent; elsewhere a line stays one line."""
    stream = sys.stderr if to_stderr else sys.stdout
    for line in lines:
        text = printable(line)
        if stream.isatty() and not isinstance(line, Whole) and len(text) >= columns():
            begin = _hanging(text)
            text = "\n".join(wrapped(text[:begin], text[begin:], begin, width=columns() - 1))
        print(text, file=stream, flush=True)


def _hanging(line: str) -> int:
    """Columns before the text in a line such as `title      text`."""
    found = re.match(r"(?:\w+ )*\w*  +", line)
    return len(found[0]) if found else 0


class _Patient(io.RawIOBase):
    """A raw stream that never raises: after its first error it drops everything."""

    def __init__(self, raw: Any) -> None:
        self._raw = raw
        self.refused: OSError | None = None
        """The error since which output is dropped."""
        self.is_told = False
        """Somebody else says so."""

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return int(self._raw.fileno())

    def isatty(self) -> bool:
        return bool(self._raw.isatty())

    def write(self, data: bytes | bytearray | memoryview) -> int:  # type: ignore[override]
        if self.refused is None:
            try:
                while (count := self._raw.write(data)) is None:  # somebody made it non-blocking
                    select.select((), (self._raw,), ())
                return int(count)
            except OSError as error:
                self.refused = error
        return len(data)


@contextmanager
def patient_streams() -> Iterator[None]:
    """Make writing to stdout and stderr never fail, and let nothing else change the exit code.

    At the end, if output to stdout was lost for another reason than a closed pipe, one line on
    stderr says so and exit code 0 becomes 1. The process ends when everything that Python does at
    its end is done, but before it takes itself apart: threads of Arrow may then still hold Python
    objects, and a finished scan would now and then end with SIGABRT (github.com/apache/arrow/issues
    34314 and 45017).
    """
    _fill_closed()
    if sys.stdout is not sys.__stdout__:  # a caller's own, as in tests
        yield
        return
    code: object = None  # until the program has come to an end without a traceback

    def end() -> None:
        if isinstance(code, int):
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)

    atexit.register(end)  # before anything that the program registers, so it is called last
    sys.stdout, refused = _patient(sys.stdout)
    sys.stderr, _ = _patient(sys.stderr)
    try:
        yield
        code = 0
    except SystemExit as ended:
        code = ended.code or 0
    sys.stdout.flush()
    error = None if refused.is_told else refused.refused
    if error is not None and not is_closed_pipe(error):
        text = f"inspector: cannot write to standard output: {error.strerror}; its text is lost"
        print(printable(text), file=sys.stderr)
        code = code or 1
    sys.exit(code)


def is_closed_pipe(error: OSError) -> bool:
    """Whether writing failed because nobody reads any more."""
    return error.errno in _CLOSED_PIPE


def refusal(stream: TextIO) -> OSError | None:
    """The error since which a stream of `patient_streams` drops everything, if there was one; who
    asks says so."""
    buffer = getattr(stream, "buffer", None)
    end = getattr(buffer, "raw", buffer)
    if not isinstance(end, _Patient):
        return None
    end.is_told = end.refused is not None
    return end.refused


def _fill_closed() -> None:
    """Open the null device in place of standard streams that are closed: otherwise the next file
    that is opened gets their number, and with it the messages of libraries."""
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
    for number, name in enumerate(("stdout", "stderr"), start=1):
        if getattr(sys, name) is None:
            nowhere = os.fdopen(number, "w", encoding="utf-8", closefd=False)
            setattr(sys, name, nowhere)
            setattr(sys, f"__{name}__", nowhere)


def _patient(stream: Any) -> tuple[TextIO, _Patient]:
    """Wrap a text stream; characters that its encoding lacks are escaped."""
    raw = getattr(stream.buffer, "raw", stream.buffer)  # without a buffer with `python -u`
    end = _Patient(raw)
    buffer: Any = end if raw is stream.buffer else io.BufferedWriter(cast("Any", end))
    text = io.TextIOWrapper(
        buffer,
        encoding=stream.encoding,
        errors="backslashreplace",
        line_buffering=stream.line_buffering,
        write_through=raw is stream.buffer,
    )
    return text, end
