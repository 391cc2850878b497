"""When rows were judged: what the metadata of their part says, run by run, in their order.

    inspector.judged_at   [[10000, "2026-11-30T18:50:03.123456"], [3, "2026-12-01T07:00:00"]]

How many rows, and when they were committed, in UTC; null where nobody knows. Parts of versions that
did not know it say nothing. A row that is taken out or put behind takes its time along, so no copy
of the files and no other row changes it.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from inspector.core.untrusted import parse_json
from inspector.errors import UsageError
from inspector.results.schema import JUDGED_AT, METADATA_PREFIX

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    Span = tuple[int, datetime | None]

_KEY = f"{METADATA_PREFIX}{JUDGED_AT.name}".encode()


def parse_since(text: str) -> datetime:
    """Return a date, or a date and time, as UTC without a time zone; it is local unless it names
    one. Raises UsageError."""
    try:
        return datetime.fromisoformat(text).astimezone(UTC).replace(tzinfo=None)
    except (ValueError, OverflowError, OSError) as error:
        raise UsageError(
            f"--since {text!r} is no date; write it like 2026-11-30 or 2026-11-30T18:50"
        ) from error


def stamped(table: pa.Table, spans: Sequence[Span]) -> pa.Table:
    """Say when the rows of a part were judged."""
    said = [(rows, moment and moment.isoformat()) for rows, moment in spans if rows]
    about = without_times(table.schema.metadata)
    if any(moment for _, moment in said):
        about[_KEY] = json.dumps(said).encode()
    return table.replace_schema_metadata(about)


def without_times(metadata: Mapping[bytes, bytes] | None) -> dict[bytes, bytes]:
    """Return the rest of a part's metadata."""
    return {key: value for key, value in (metadata or {}).items() if key != _KEY}


def spans_of(metadata: Mapping[bytes, bytes] | None, rows: int) -> list[Span]:
    """Return how many rows of a part were judged when; what makes no sense is not known."""
    try:
        said = parse_json((metadata or {})[_KEY])
        spans = [(int(count), moment and datetime.fromisoformat(moment)) for count, moment in said]
        if all(count > 0 for count, _ in spans) and sum(count for count, _ in spans) == rows:
            return [(n, moment and moment.replace(tzinfo=None)) for n, moment in spans]
    except (KeyError, ValueError, TypeError):
        pass
    return [(rows, None)]


def filtered(table: pa.Table, mask: pa.Array | pa.ChunkedArray) -> pa.Table:
    """Keep the rows of a part where `mask` holds, each with its time."""
    spans = spans_of(table.schema.metadata, len(table))
    kept = np.concatenate([[0], np.cumsum(np.asarray(mask, np.bool_))])
    ends = np.cumsum([0, *(rows for rows, _ in spans)])
    counts = np.diff(kept[ends]).tolist()
    left = [(rows, moment) for rows, (_, moment) in zip(counts, spans, strict=True)]
    return stamped(table.filter(mask), left)


def added(table: pa.Table, more: pa.Table) -> pa.Table:
    """Put rows behind those of a part, whose other metadata stays, each with its time."""
    both = [span for rows in (table, more) for span in spans_of(rows.schema.metadata, len(rows))]
    about = table.schema.metadata
    return stamped(pa.concat_tables([table, more.replace_schema_metadata(about)]), both)


def column(spans: Sequence[Span]) -> pa.Array:
    """Return the time of each row."""
    return pa.concat_arrays([_repeated(moment, rows) for rows, moment in spans])


def _repeated(moment: datetime | None, rows: int) -> pa.Array:
    """Return a column of one time. (Of Python's, pyarrow would load pandas, if it is there.)"""
    if moment is None:
        return pa.nulls(rows, JUDGED_AT.type)
    values = np.full(rows, np.datetime64(moment, JUDGED_AT.type.unit))
    return pa.Array.from_buffers(JUDGED_AT.type, rows, [None, pa.py_buffer(values)])
