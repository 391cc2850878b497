"""Result tables as any program reads them, and how one differs from another."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import pyarrow as pa
import pyarrow.dataset as ds

from inspector.core.layout import Layout
from inspector.errors import OutputError
from inspector.photos.address import path_of
from inspector.results.schema import JUDGED_AT
from inspector.results.verify import VerifyConfig, verify

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    Row = dict[str, Any]

_COLUMNS = ["uri", "status", "verdict", "p_crack", "failure_code", "format"]
UNREADABLE = (pa.ArrowException, OSError, OutputError)
"""Errors that reading a damaged table raises."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Rows of a result directory, by a plain `pyarrow.dataset` that knows nothing of us."""

    rows: Mapping[str, str]
    """By uri, every column's value spelled out exactly, but for when it was made."""
    count: int
    """Rows, also those of a uri that has several."""
    content: bytes
    """The same sorted by uri without its run facts, in Arrow's file format."""

    @classmethod
    def of(cls, out: Path) -> Self:
        """Raises UNREADABLE."""
        table = _sorted_table(out)
        rows = table.to_pylist()
        # Built anew, so that the bytes depend on values only and not on how the parts were cut.
        content = _encode(pa.Table.from_pylist(rows, schema=table.schema))
        return cls({row["uri"]: repr(row) for row in rows}, len(rows), content)

    @property
    def doubled(self) -> int:
        return self.count - len(self.rows)


@dataclass(frozen=True, slots=True)
class Difference:
    """Rows that are not what they must be."""

    missing: int = 0
    doubled: int = 0
    changed: int = 0
    """Rows with other values than expected, or of a file that should have none."""

    def __add__(self, other: Difference) -> Difference:
        return Difference(
            self.missing + other.missing,
            self.doubled + other.doubled,
            self.changed + other.changed,
        )

    def __bool__(self) -> bool:
        return (self.missing, self.doubled, self.changed) != (0, 0, 0)

    def __str__(self) -> str:
        return f"{self.missing} missing, {self.doubled} doubled, {self.changed} changed"


def difference(found: Snapshot, expected: Snapshot) -> Difference:
    """Between a finished table and what it must be."""
    missing = sum(uri not in found.rows for uri in expected.rows)
    return Difference(missing, found.doubled, _changed(found, expected))


def difference_so_far(found: Snapshot, *expected: Snapshot) -> Difference:
    """Compare a table that is not finished: what it holds must stand in one of `expected`."""
    return Difference(0, found.doubled, _changed(found, *expected))


def damage_in(out: Path) -> list[str]:
    """Findings of `inspector verify`; nothing for a directory without a manifest, in which
    there is nothing to verify yet. Raises OutputError."""
    if not Layout(out).manifest.exists():
        return []
    return [
        f"{flaw.code} {flaw.where}: {flaw.what}" for flaw in verify(VerifyConfig(out=out)).damage
    ]


def rows_by_path(out: Path) -> dict[str, list[Row]]:
    """All rows, by path as the operating system has it; more than one only where a promise was
    broken. Empty when there is no table."""
    rows: dict[str, list[Row]] = {}
    if Layout(out).part_names():
        for row in ds.dataset(out, format="parquet").to_table(_COLUMNS).to_pylist():
            rows.setdefault(path_of(row["uri"]), []).append(row)
    return rows


def _changed(found: Snapshot, *expected: Snapshot) -> int:
    return sum(
        all(right.rows.get(uri) != row for right in expected) for uri, row in found.rows.items()
    )


def _sorted_table(out: Path) -> pa.Table:
    if not Layout(out).part_names():
        return pa.table({"uri": pa.array([], pa.string())})
    found = ds.dataset(out, format="parquet")
    table: pa.Table = found.to_table([name for name in found.schema.names if name != JUDGED_AT])
    return table.replace_schema_metadata().sort_by("uri")


def _encode(table: pa.Table) -> bytes:
    stream = pa.BufferOutputStream()
    with pa.ipc.new_file(stream, table.schema) as writer:
        writer.write_table(table)
    content: bytes = stream.getvalue().to_pybytes()
    return content
