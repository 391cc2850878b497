"""One promise put to the test: what was done, what was found, whether it was kept."""

from __future__ import annotations

import shutil
import sys
import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

from bench.faults.table import (
    UNREADABLE,
    Difference,
    Snapshot,
    damage_in,
    difference,
    difference_so_far,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

    from bench.faults.scans import Ended
    from inspector.types import JsonObject

T = TypeVar("T")
U = TypeVar("U")


class NothingToCompare(Exception):
    """A scan that no fault was inflicted on does not work."""


_TOLD = 8
"""Troubles spelled out per case; all of them are counted."""


@dataclass(slots=True)
class FaultCase:
    """Counts over all runs of a case; it fails when a count is not 0 or there is a trouble."""

    name: str
    runs: int = 0
    """Faults that were inflicted."""
    rows: int = 0
    """Rows that were compared with what they must be, in finished tables."""
    difference: Difference = field(default_factory=Difference)
    left: int = 0
    """Processes, temporary files and shared memory that outlived a scan."""
    troubles: list[str] = field(default_factory=list)
    facts: JsonObject = field(default_factory=dict)
    seconds: float = 0.0
    skipped: str = ""
    """Why the case could not be run on this machine."""
    _started: float = field(default_factory=time.perf_counter)

    def expect(self, kept: bool, broken: str) -> None:
        """Record a promise that was not kept."""
        if not kept:
            self.troubles.append(broken)

    def note_left(self, left: Sequence[str]) -> None:
        """Record what outlived a scan."""
        self.left += len(left)
        self.troubles += [f"left behind: {name}" for name in left]

    def take(self, trial: Trial) -> None:
        """Count what a trial has found."""
        self.runs += trial.kills
        self.rows += trial.rows
        self.difference += trial.difference
        self.note_left([f"{left} ({trial.name})" for left in trial.left])
        self.troubles += [f"{trial.name}: {trouble}" for trouble in trial.troubles]

    def finish(self) -> FaultCase:
        self.seconds = time.perf_counter() - self._started
        return self

    @property
    def broken(self) -> bool:
        return bool(self.troubles or self.difference or self.left)

    def to_json(self) -> JsonObject:
        told = "; ".join(self.troubles[:_TOLD])
        more = len(self.troubles) - _TOLD
        reason = f"{told}; and {more} more" if more > 0 else told
        status = "skipped" if self.skipped else "failed" if self.broken else "ok"
        return {
            "name": self.name,
            "status": status,
            "reason": self.skipped or reason or ("see the counts" if self.broken else ""),
            "runs": self.runs,
            "rows": self.rows,
            "missing": self.difference.missing,
            "doubled": self.difference.doubled,
            "changed": self.difference.changed,
            "left": self.left,
            "seconds": self.seconds,
            "troubles": self.troubles,
            "facts": self.facts,
        }


@dataclass(slots=True)
class Trial:
    """One scan into `out` that is disturbed, and what comes of it."""

    name: str
    out: Path
    kills: int = 0
    moments: list[str] = field(default_factory=list)
    """Where each kill of the scan came, by what was committed."""
    rows: int = 0
    difference: Difference = field(default_factory=Difference)
    left: list[str] = field(default_factory=list)
    troubles: list[str] = field(default_factory=list)

    def note(self, ended: Ended, *expected: int) -> None:
        """Note how a run ended; `expected` are exit codes beside 0."""
        self.left += ended.left
        if ended.returncode not in (0, *expected):
            self.troubles.append(ended.trouble)

    def look(self, *tables: Snapshot) -> None:
        """Look at a table that is not finished: what it holds must stand in one of `tables`."""
        self.difference += difference_so_far(Snapshot.of(self.out), *tables)
        self.troubles += damage_in(self.out)

    def compare(self, right: Snapshot) -> None:
        """Compare the finished table with the right one, byte for byte."""
        found = Snapshot.of(self.out)
        self.troubles += damage_in(self.out)
        self.rows += found.count
        self.difference += difference(found, right)
        if found.content != right.content and not self.difference:
            self.troubles.append("rows are equal, but their bytes differ")

    @contextmanager
    def kept_if_wrong(self) -> Iterator[None]:
        """At the end a right table is removed, another one kept; one that cannot be read is a
        trouble."""
        try:
            yield
        except UNREADABLE as error:
            self.troubles.append(f"the table cannot be read: {error}")
        if self.difference or self.troubles or self.left:
            self.troubles.append(f"kept: {self.out}")
        else:
            shutil.rmtree(self.out)


def in_parallel(
    work: Callable[[T], U], tasks: Sequence[T], *, threads: int, about: str
) -> Iterator[U]:
    """Results of `work` for each task, as they end; says on stderr how far it is."""
    every = max(1, len(tasks) // 10)
    pool = ThreadPoolExecutor(threads)
    try:
        futures = [pool.submit(work, task) for task in tasks]
        for done, future in enumerate(as_completed(futures), 1):
            yield future.result()
            if done % every == 0 or done == len(tasks):
                print(f"{about}: {done} of {len(tasks)}", file=sys.stderr)
    finally:
        # Not waited for: after an error or Ctrl-C the scans that it waits for are yet to be killed.
        pool.shutdown(wait=False, cancel_futures=True)


def listed(values: Iterable[object]) -> str:
    """A few of them in words."""
    words = [str(value) for value in values]
    more = len(words) - _TOLD
    return ", ".join(words[:_TOLD]) + (f" and {more} more" if more > 0 else "")
