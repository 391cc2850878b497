"""The rows of a table that are worth showing: a bounded number, whatever the table's size."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

if TYPE_CHECKING:
    from collections.abc import Sequence

    from inspector.types import JsonObject


class Best:
    """The first `most` rows of all that were added, in the order of `keys`: column names with
    `ascending` or `descending`; nulls come last."""

    def __init__(self, most: int, keys: Sequence[tuple[str, str]]) -> None:
        self.total = 0
        self._most = most
        self._keys = list(keys)
        self._held: pa.Table | None = None

    def add(self, rows: pa.Table) -> None:
        self.total += rows.num_rows
        if not rows.num_rows:
            return
        rows = rows if self._held is None else pa.concat_tables([self._held, rows])
        order = pc.sort_indices(rows, sort_keys=self._keys)
        self._held = rows.take(order[: self._most]).combine_chunks()

    def rows(self) -> list[JsonObject]:
        return [] if self._held is None else self._held.to_pylist()


class Examples:
    """The first `most` rows for each value of a column."""

    def __init__(self, most: int, column: str) -> None:
        self._most = most
        self._column = column
        self._held: dict[str, list[JsonObject]] = {}

    def add(self, rows: pa.Table) -> None:
        for value in pc.unique(rows[self._column]).to_pylist():
            held = self._held.setdefault(value, [])
            if len(held) < self._most:
                some = rows.filter(pc.equal(rows[self._column], value))
                held += some.slice(0, self._most - len(held)).to_pylist()

    def rows(self) -> dict[str, list[JsonObject]]:
        return self._held
