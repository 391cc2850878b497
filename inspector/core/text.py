"""Text for a terminal: safe to print, and wrapped to its width."""

from __future__ import annotations

import os
import re
import shutil
import sys
import textwrap
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

WIDTH = 80
"""Columns to use at most."""
TITLE = 11
"""Columns of the title at the start of a summary line."""
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
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def display_path(path: str) -> str:
    r"""A path as text: bytes that are not UTF-8 as \xNN. Control characters stay; who prints it
    makes them harmless."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def calendar_us(time_us: int | None) -> int | None:
    """Microseconds since the epoch; None for times that no calendar has, which a damaged file
    system can report."""
    if time_us is None or not _FIRST_US <= time_us <= _LAST_US:
        return None
    return time_us


def calendar_time(time_us: int | None) -> datetime | None:
    """The same as a date and time, UTC, without a time zone."""
    known_us = calendar_us(time_us)
    return None if known_us is None else _EPOCH + timedelta(microseconds=known_us)


def columns() -> int:
    """Width of the terminal (or `$COLUMNS`); `WIDTH` if there is none."""
    return shutil.get_terminal_size((WIDTH, 24)).columns


def _line() -> int:
    """Columns of a wrapped line, one less than fit: a full line looks cut off."""
    return min(WIDTH, columns()) - 1


def wrapped(title: str, text: str, indent: int = TITLE, *, width: int | None = None) -> list[str]:
    """Wrap a title and the paragraph beside it. Words stay whole, paths and options too.

    Args:
        title: Start of the first line.
        text: The paragraph; it may quote text from outside.
        indent: Columns of the title and of the indentation below it.
        width: Columns of a line; the terminal's, at most `WIDTH`, if not given.
    """
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
