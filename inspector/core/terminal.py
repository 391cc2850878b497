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
    """Base of progress bars: drawn while used as a context manager."""

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
    """A progress column of literal text, wrapped if it does not fit."""
    from rich.progress import TextColumn
    from rich.table import Column

    return TextColumn(template, markup=False, table_column=Column())


def bar(*parts: ProgressColumn, quiet: bool = False) -> Progress:
    """Make a progress bar on stderr, drawn only on a terminal and removed at the end. Lines printed
    meanwhile appear above it."""
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
    """Make a bar that shows the task's description and how many are done of how many."""
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
