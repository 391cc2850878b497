"""What everything that shows itself on a terminal has in common."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
)

from inspector.text import printable

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import TracebackType


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


def counting() -> Progress:
    """A bar of how many are done of how many, with the task's description before it; drawn on
    stderr where that is a terminal, and gone at the end."""
    console = Console(stderr=True)
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=None),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
        disable=not console.is_terminal,
        transient=True,
    )


class CountingBar(Drawing):
    """`counting` for one task after the other. Use it as a context manager, and call it to tell
    it what is being read, how many are done, and how many there are."""

    def __init__(self) -> None:
        self.progress = counting()
        self._task = self.progress.add_task("", total=None)

    def __call__(self, what: str, done: int, total: int) -> None:
        self.progress.update(self._task, description=what, completed=done, total=total)


def print_lines(lines: Iterable[str], *, to_stderr: bool = False) -> None:
    """Plain lines, however long and whatever they quote."""
    console = Console(stderr=to_stderr, highlight=False, soft_wrap=True)
    for line in lines:
        console.print(printable(line), markup=False)
