"""The engine in a thread of its own, so that it never waits for rows to be made or written."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from inspector.types import Scores
from inspector.workers.ordered import make_ahead

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable
    from threading import Event

    from inspector.engines import Backend
    from inspector.scanning.summary import Stopwatch
    from inspector.types import Batch

IN_FLIGHT = 2
"""Batches with the engine: one that it works on, one that waits; their pixels are in memory."""

_NO_SCORES = Scores(
    np.empty(0, np.float32), np.empty((0, 1, 1), np.float32), np.empty(0, np.float32)
)
"""Of a batch in which every file failed."""


class EngineThread:
    """Runs batches through `backend` ahead of whoever takes the results; `clock` counts how long
    that one waits."""

    def __init__(self, backend: Backend, clock: Stopwatch) -> None:
        self._backend = backend
        self._clock = clock
        self.busy_seconds = 0.0
        """Seconds in which the engine worked; they overlap with those of other stages."""

    def run(self, batches: Iterable[Batch]) -> Generator[tuple[Batch, Scores]]:
        """Every batch with its scores, in the same order, from the first time it is asked for one.
        Close the generator to end the thread; raises what the backend raises."""
        waiting = partial(self._clock.stage, "engine")
        yield from make_ahead(
            [self], iter(batches), depth=IN_FLIGHT, name="inspector-engine", waiting=waiting
        )

    def make(self, batch: Batch, stop: Event) -> tuple[Batch, Scores]:
        """The batch with its scores, in the engine's thread."""
        if not len(batch.pixels_NHWC):
            return batch, _NO_SCORES
        started = time.perf_counter()
        scores = self._backend.run(batch.pixels_NHWC)
        self.busy_seconds += time.perf_counter() - started
        return batch, scores

    def close(self) -> None:
        """Nothing: the backend is closed by who opened it."""
