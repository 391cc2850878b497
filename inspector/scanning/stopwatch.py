"""Where the time of a scan goes."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

Made = TypeVar("Made")


class Stopwatch:
    """Wall seconds by stage, of the thread that runs the scan."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        started = time.perf_counter()
        try:
            yield
        finally:
            spent = time.perf_counter() - started
            self.seconds[name] = self.seconds.get(name, 0.0) + spent

    def timed(self, name: str, made: Iterable[Made]) -> Iterator[Made]:
        """Pass on what is made, and count the waiting for each as stage `name`."""
        waiting = iter(made)
        while True:
            with self.stage(name):
                each = next(waiting, None)
            if each is None:
                return
            yield each
