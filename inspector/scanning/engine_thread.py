"""The engine in a thread of its own, so that it never waits for rows to be made or written."""

from __future__ import annotations

import time
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np

from inspector.types import Scores

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable

    from inspector.engines import Backend
    from inspector.scanning.summary import Stopwatch
    from inspector.types import Batch

    Running = tuple[Batch, Future[Scores]]

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
        """Every batch with its scores, in the same order. Close the generator to end the thread;
        raises what the backend raises."""
        with ThreadPoolExecutor(1, "inspector-engine") as thread:
            running: deque[Running] = deque()
            for batch in batches:
                running.append((batch, thread.submit(self._judge, batch)))
                if len(running) == IN_FLIGHT:
                    yield self._finished(running)
            while running:
                yield self._finished(running)

    def _finished(self, running: deque[Running]) -> tuple[Batch, Scores]:
        """The oldest of `running`, which leaves it, once it is done."""
        batch, scores = running.popleft()
        with self._clock.stage("engine"):
            return batch, scores.result()

    def _judge(self, batch: Batch) -> Scores:
        if not len(batch.pixels_NHWC):
            return _NO_SCORES
        started = time.perf_counter()
        scores = self._backend.run(batch.pixels_NHWC)
        self.busy_seconds += time.perf_counter() - started
        return scores
