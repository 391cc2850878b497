"""What everything that shows itself on a terminal has in common."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from rich.console import Console

from inspector.text import printable

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import TracebackType

    from rich.progress import Progress


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


def print_lines(lines: Iterable[str], *, to_stderr: bool = False) -> None:
    """Plain lines, however long and whatever they quote."""
    console = Console(stderr=to_stderr, highlight=False, soft_wrap=True)
    for line in lines:
        console.print(printable(line), markup=False)
