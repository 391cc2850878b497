"""Progress of long-running library functions: the callback, and a bar that shows it."""

from __future__ import annotations

from collections.abc import Callable

from inspector.core.terminal import Drawing, counting

Progress = Callable[[str, int, int], None]
"""Called with the phase in words ("decoding"), how many are done and how many there are."""


def no_progress(phase: str, done: int, total: int) -> None:
    """A `Progress` that shows nothing."""


class CountingBar(Drawing):
    """A `Progress` drawn as a bar on stderr while it is used as a context manager."""

    def __init__(self, *, quiet: bool = False) -> None:
        self.progress = counting(quiet=quiet)
        self._task = self.progress.add_task("", total=None)

    def __call__(self, phase: str, done: int, total: int) -> None:
        self.progress.update(self._task, description=phase, completed=done, total=total or None)
