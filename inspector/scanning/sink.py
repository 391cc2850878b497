"""Rows into parts: nothing is published before it is complete."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Self

from inspector.errors import OutputError
from inspector.results.parts import FINGERPRINT
from inspector.results.schema import to_table

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import TracebackType

    from inspector.results.store import Results

ROWS_PER_PART = 10_000
"""About 2 MB on disk; what a crash can cost at most."""
SECONDS_PER_PART = 30.0
"""Work that a crash may cost on a slow machine, where a full part takes hours."""


class ParquetSink:
    """Collects rows and commits them as parts of `results`, in the order they came.

    As a context manager it commits what is left at the end, also after an error elsewhere: those
    rows are complete. After an error of its own, or at a KeyboardInterrupt, it does not.
    Raises OutputError when a part cannot be written.
    """

    def __init__(
        self,
        results: Results,
        facts: Mapping[str, str],
        *,
        rows_per_part: int = ROWS_PER_PART,
        seconds_per_part: float = SECONDS_PER_PART,
    ) -> None:
        self.results = results
        self.facts = {**facts, FINGERPRINT: results.fingerprint}
        self.rows_per_part = rows_per_part
        self.seconds_per_part = seconds_per_part
        self.committed = 0
        """Rows that this sink has made safe."""
        self._waiting: list[Mapping[str, Any]] = []
        self._last_commit = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None:
            self.finish()
        elif issubclass(kind, Exception) and not issubclass(kind, OutputError):
            self.commit()

    def write(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Take rows; commit when enough or long enough have waited."""
        self._waiting.extend(rows)
        while len(self._waiting) >= self.rows_per_part:
            self._commit_first(self.rows_per_part)
        if time.monotonic() - self._last_commit > self.seconds_per_part:
            self.commit()

    def commit(self) -> None:
        """Publish all rows that wait."""
        if self._waiting:
            self._commit_first(len(self._waiting))

    def finish(self) -> None:
        """Publish what waits. A scan without rows gets an empty part, so that readers find a table
        with the right columns and no special case."""
        self.commit()
        if not self.results.parts:
            self._commit_first(0)

    def _commit_first(self, count: int) -> None:
        rows = self._waiting[:count]
        self.results.commit(to_table(rows, self.facts))
        del self._waiting[:count]
        self.committed += len(rows)
        self._last_commit = time.monotonic()
