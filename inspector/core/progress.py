"""Progress: the callback of long-running library functions, and the bars that show it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    ProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as RichProgress
from rich.table import Column

if TYPE_CHECKING:
    from types import TracebackType

Progress = Callable[[str, int, int], None]
"""Called with the phase in words ("decoding"), how many are done and how many there are."""


def no_progress(phase: str, done: int, total: int) -> None:
    """A `Progress` that shows nothing."""


class Drawing:
    """Base of progress bars: drawn while used as a context manager."""

    progress: RichProgress

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


class CountingBar(Drawing):
    """A `Progress` drawn as a bar on stderr, one task after the other."""

    def __init__(self, *, quiet: bool = False) -> None:
        self.progress = bar(
            words("{task.description}"),
            BarColumn(bar_width=None),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            quiet=quiet,
        )
        self._task = self.progress.add_task("", total=None)

    def __call__(self, phase: str, done: int, total: int) -> None:
        self.progress.update(self._task, description=phase, completed=done, total=total or None)


def words(template: str) -> TextColumn:
    """A progress column of literal text, wrapped if it does not fit."""
    return TextColumn(template, markup=False, table_column=Column())


def bar(*parts: ProgressColumn, quiet: bool = False) -> RichProgress:
    """Make a progress bar on stderr, drawn only on a terminal and removed at the end. Lines printed
    meanwhile appear above it."""
    console = Console(stderr=True)
    return RichProgress(
        *parts,
        console=console,
        disable=quiet or not console.is_terminal,
        transient=True,
        redirect_stdout=sys.stdout.isatty(),  # else it would go to stderr
    )
