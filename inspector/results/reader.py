"""Read a scan's table: its parts, their rows, and whether a scan has changed them meanwhile.

Everything that reads a table without writing it does so here: report, review and labels.
"""

from __future__ import annotations

import contextlib
import os
from bisect import bisect_right
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import groupby
from typing import TYPE_CHECKING, TypeVar

import pyarrow as pa
import pyarrow.compute as pc

from inspector.core.layout import Layout
from inspector.errors import OutputError, UsageError
from inspector.results.parts import opened_part
from inspector.results.schema import JUDGED_AT, METADATA_PREFIX, SCHEMA

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    import pyarrow.parquet as pq

    from inspector.types import JsonObject

ROWS_AT_ONCE = 10_000
"""Rows of one batch; with all columns, some 4 MB."""
ROW = "row"
"""Name of the column that numbers the rows of a stream."""
ATTEMPTS = 4
"""Readings of a table whose parts a scan keeps rewriting."""
_REMEDY = "see: inspector verify"

Read = TypeVar("Read")
State = tuple[int, int, int]
"""Inode, size and time of change (nanoseconds): no two states of a part share them."""


class StaleTableError(Exception):
    """A scan has changed the table since it was opened; open it anew."""


@dataclass(frozen=True, slots=True)
class PartFile:
    """One part of the table: its rows, numbered from `begin` on, and what is said of its run."""

    path: Path
    begin: int
    rows: int
    state: State
    facts: Mapping[str, str]
    streamed: int
    """Rows that streams have."""


@dataclass(frozen=True, slots=True)
class Table:
    """The table of the result directory `out` as it was when it was opened.

    Rows are numbered from 0 in the order of the parts. Every read checks that the part is still
    the same file, so a number never means another photo.
    """

    out: Path
    parts: tuple[PartFile, ...]
    since: datetime | None = None
    """Streams have the rows alone that were judged then or later (UTC, no time zone); None: all."""

    @classmethod
    def open(cls, out: Path, since: datetime | None = None) -> Table:
        """List the parts and read their footers, and when their rows were judged if streams have
        those `since` then alone. Raises OutputError where there are no rows yet
        or a part cannot be read, StaleTableError where a scan removed a part meanwhile."""
        parts: list[PartFile] = []
        begin = 0
        for path in Layout(out).parts():
            state = state_of(path)
            with _reading(path) as file:
                rows, facts = file.metadata.num_rows, _facts(file.schema_arrow.metadata or {})
                streamed = rows if since is None else _count_since(file, since)
            parts.append(PartFile(path, begin, rows, state, facts, streamed))
            begin += rows
        if not parts:
            raise OutputError(
                f"{out} holds no rows yet; let its scan go on, or make some with: inspector scan"
            )
        return cls(out, tuple(parts), since)

    def __len__(self) -> int:
        return self.parts[-1].begin + self.parts[-1].rows

    @property
    def streamed(self) -> int:
        """Rows of a stream."""
        return sum(part.streamed for part in self.parts)

    @property
    def facts(self) -> Mapping[str, str]:
        """Facts of the run that wrote the last part."""
        return self.parts[-1].facts

    def is_current(self) -> bool:
        """Tell whether the table still has exactly the parts that were opened."""
        found = [(path, state_of(path)) for path in Layout(self.out).parts()]
        return found == [(part.path, part.state) for part in self.parts]

    def check(self, row: int) -> None:
        """Raise StaleTableError when a scan has rewritten the part that holds a row."""
        _check(self.parts[self._place(row)])

    def _place(self, row: int) -> int:
        return bisect_right(self.parts, row, key=lambda part: part.begin) - 1

    def batches(
        self, columns: Sequence[str], progress: Callable[[int], None] | None = None
    ) -> Iterator[pa.RecordBatch]:
        """Yield all rows in order, in batches of `batch_schema(columns)`; `progress` is called with
        the number of rows of each. Raises OutputError where a part cannot be read, StaleTableError
        where a scan has rewritten one."""
        schema, read = batch_schema(columns), list(columns)
        # One column at least, of which the number of rows is known.
        if JUDGED_AT not in read and (self.since is not None or not read):
            read.append(JUDGED_AT)
        for part in self.parts:
            if not part.streamed:
                continue
            row = part.begin
            with _reading(part.path) as file:
                for batch in file.iter_batches(ROWS_AT_ONCE, columns=read, use_threads=False):
                    batch.validate(full=True)
                    _check(part)
                    numbers = pa.arange(row, row + batch.num_rows)
                    arrays = [numbers, *map(batch.column, columns)]
                    found = pa.RecordBatch.from_arrays(arrays, schema=schema)
                    if self.since is not None:
                        found = found.filter(pc.greater_equal(batch[JUDGED_AT], self.since))
                    yield found
                    row += batch.num_rows
                    if progress:
                        progress(batch.num_rows)
            _check(part)

    def rows(self, numbers: Sequence[int], columns: Sequence[str]) -> list[JsonObject]:
        """Some rows by their numbers, in that order, with these as `row`. Raises as `batches`."""
        found: dict[int, JsonObject] = {}
        for place, rows in groupby(sorted(set(numbers)), key=self._place):
            part, chosen = self.parts[place], list(rows)
            _check(part)
            with _reading(part.path) as file:
                read = file.read(columns=list(columns), use_threads=False)
            _check(part)
            for row in chosen:
                (found[row],) = read.slice(row - part.begin, 1).to_pylist()
        return [{**found[row], ROW: row} for row in numbers]


def batch_schema(columns: Sequence[str]) -> pa.Schema:
    """The schema of `Table.batches`: the row's number, then `columns`."""
    return pa.schema([pa.field(ROW, pa.int64()), *map(SCHEMA.field, columns)])


def parse_since(text: str) -> datetime:
    """Return a date, or a date and time, as UTC without a time zone; it is local unless it names
    one. Raises UsageError."""
    try:
        return datetime.fromisoformat(text).astimezone(UTC).replace(tzinfo=None)
    except (ValueError, OverflowError, OSError) as error:
        raise UsageError(
            f"--since {text!r} is no date; write it like 2026-11-30 or 2026-11-30T18:50"
        ) from error


def read_steadily(out: Path, read: Callable[[Table], Read], since: datetime | None = None) -> Read:
    """Return what `read` makes of the table of `out`; where a scan changes it meanwhile, open it
    and call `read` again. Raises OutputError where that never ends."""
    for _ in range(ATTEMPTS):
        with contextlib.suppress(StaleTableError):
            return read(Table.open(out, since))
    raise OutputError(f"a scan keeps changing {out}; try again when it has ended")


@contextlib.contextmanager
def _reading(path: Path) -> Iterator[pq.ParquetFile]:
    """Open a part. Raises StaleTableError where it is gone, OutputError where it is unreadable."""
    try:
        with opened_part(path, _REMEDY, page_checksum_verification=True) as file:
            if not file.schema_arrow.equals(SCHEMA):
                raise OutputError(
                    f"{path} has other columns than this version writes; read it with the version "
                    "that made it"
                )
            yield file
    except OutputError as error:
        if isinstance(error.__cause__, FileNotFoundError):
            raise StaleTableError(path.name) from error
        raise


def state_of(path: Path) -> State:
    """Return inode, size and time of change of a file; zeros if it is gone."""
    try:
        about = os.stat(path)
    except OSError:
        return (0, 0, 0)
    return about.st_ino, about.st_size, about.st_mtime_ns


def _check(part: PartFile) -> None:
    """Raise StaleTableError when the part's file is another one now."""
    if state_of(part.path) != part.state:
        raise StaleTableError(part.path.name)


def _count_since(file: pq.ParquetFile, since: datetime) -> int:
    judged = file.read(columns=[JUDGED_AT], use_threads=False)[JUDGED_AT]
    return int(pc.sum(pc.greater_equal(judged, since), min_count=0).as_py())


def _facts(metadata: Mapping[bytes, bytes]) -> dict[str, str]:
    return {
        key.decode().removeprefix(METADATA_PREFIX): value.decode("utf-8", "replace")
        for key, value in metadata.items()
        if key.startswith(METADATA_PREFIX.encode())
    }
