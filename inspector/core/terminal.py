"""Shared terminal output: progress bars and safe printing."""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING, Self

from inspector.core.text import Whole, columns, printable, wrapped

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import TracebackType

    from rich.progress import Progress, ProgressColumn, TextColumn


class Drawing:
    """A progress bar that is drawn while its owner is used as a context manager."""

    progress: Progress

    def __enter__(self) -> Self:
        self.progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.progress.stop()


def words(template: str) -> TextColumn:
    """A bar's column of text, which is shown as it is, and wrapped where it does not fit."""
    from rich.progress import TextColumn
    from rich.table import Column

    return TextColumn(template, markup=False, table_column=Column())


def bar(*parts: ProgressColumn, quiet: bool = False) -> Progress:
    """A bar of those columns; drawn on stderr where that is a terminal, and gone at the end. What
    is printed meanwhile comes above it."""
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    return Progress(
        *parts,
        console=console,
        disable=quiet or not console.is_terminal,
        transient=True,
        redirect_stdout=sys.stdout.isatty(),  # else it would go to stderr
    )


def counting(*more: ProgressColumn, quiet: bool = False) -> Progress:
    """A bar of how many are done of how many, with the task's description before it."""
    from rich.progress import BarColumn, MofNCompleteColumn, TimeRemainingColumn

    return bar(
        words("{task.description}"),
        BarColumn(bar_width=None),
        MofNCompleteColumn(),
        *more,
        TimeRemainingColumn(),
        quiet=quiet,
    )


def print_lines(lines: Iterable[str], *, to_stderr: bool = False) -> None:
    """Plain lines, whatever they quote. Where the stream is a terminal, long ones are broken
    between words, and their rest stands below their text; elsewhere a line stays a line."""
    stream = sys.stderr if to_stderr else sys.stdout
    for line in lines:
        text = printable(line)
        if stream.isatty() and not isinstance(line, Whole) and len(text) >= columns():
            begin = _hanging(text)
            text = "\n".join(wrapped(text[:begin], text[begin:], begin, width=columns() - 1))
        print(text, file=stream, flush=True)


def _hanging(line: str) -> int:
    """Columns before the text of a line such as `title      text`."""
    found = re.match(r"(?:\w+ )*\w*  +", line)
    return len(found[0]) if found else 0
