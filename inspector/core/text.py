"""Text from others, made fit to be shown, and text of our own, laid out for a screen."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Sequence

WIDTH = 80
"""Columns of a screen, unless it is narrower."""
TITLE = 11
"""Columns of the title before a line of a summary."""


class Whole(str):
    """A line that is copied, a command or an address: a terminal may break it, we do not."""

    __slots__ = ()


def printable(text: str) -> str:
    """One line without anything that could drive a terminal or hide what it says: file names and
    error texts come from others."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def columns() -> int:
    """Of the screen, as `COLUMNS` or the terminal has it; `WIDTH` where there is none."""
    return shutil.get_terminal_size((WIDTH, 24)).columns


def _line() -> int:
    """Columns of a line of ours: on a full one a screen shows no end."""
    return min(WIDTH, columns()) - 1


def wrapped(title: str, text: str, indent: int = TITLE, *, width: int | None = None) -> list[str]:
    """A title and a paragraph beside it, whatever it quotes, in `width` columns (as many
    as a screen has, less than `WIDTH`). Words stay whole, paths and options too."""
    return textwrap.wrap(
        printable(f"{title:<{indent}}{text}"),
        width or _line(),
        subsequent_indent=" " * indent,
        break_long_words=False,
        break_on_hyphens=False,
    )


def plain_table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Columns under their heads, the first to the left. Where the first does not fit beside the
    others, it stands on a line of its own; where the others do not fit side by side, each row is a
    paragraph that names them."""
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
