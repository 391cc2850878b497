"""The one view of a table that readers get: its columns, and beside them what people said."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from inspector.results.labels import REGION, newest
from inspector.results.schema import COLUMNS, Column

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from inspector.results.reader import Table

LABEL_COLUMNS = (
    Column(
        "human_verdict",
        pa.string(),
        "What a person said: `crack`, `clear`, `not_concrete` or `unsure`; null where nobody said "
        "anything, or of other bytes than the row's.",
    ),
    Column("note", pa.string(), "What they wrote beside it."),
    Column(
        "human_regions",
        pa.list_(REGION),
        "Places that they labelled or marked: boxes in pixels of the upright photo (a point has no "
        "width and no height), each `crack` or `clear`.",
    ),
    Column("reviewer", pa.string(), "Who."),
    Column("labelled_at", pa.timestamp("us"), "When; UTC, no time zone."),
)
VIEW = (*COLUMNS, *LABEL_COLUMNS)
"""All columns of the view, in their order."""
KEYS = ("uri", "content_hash", "size_bytes", "mtime")
"""Columns by which a decision finds its row."""
_SAID = {"human_verdict": "label", "human_regions": "regions"}
"""Names that a decision's fields have otherwise."""


def view_schema(names: Sequence[str]) -> pa.Schema:
    """The schema of some columns of the view."""
    by_name = {column.name: column.field for column in VIEW}
    return pa.schema([by_name[name] for name in names])


def view_batches(
    table: Table, decisions: pa.Table, names: Sequence[str]
) -> Iterator[pa.RecordBatch]:
    """Yield some columns of all rows in order, joined with decisions. Raises as `Table.batches`."""
    own = {column.name for column in COLUMNS}
    read = [name for name in names if name in own]
    keys = () if len(read) == len(names) else KEYS
    labels, schema = newest(decisions), view_schema(names)
    for batch in table.batches(list(dict.fromkeys((*read, *keys)))):
        said = labels.take(applying(batch, labels)) if keys else labels
        columns = [
            batch[name] if name in own else said[_SAID.get(name, name)].combine_chunks()
            for name in names
        ]
        yield pa.RecordBatch.from_arrays(columns, schema=schema)


def applying(batch: pa.RecordBatch, labels: pa.Table) -> pa.Array:
    """For each row of a batch with `KEYS`, which row of `labels` (`newest`) applies to it, or null.
    A decision belongs to the bytes that were looked at; size and time stand for them where the scan
    could not read the file."""
    place = pc.index_in(batch["uri"], value_set=labels["uri"])
    seen = labels.select(KEYS).take(place)
    same_hash = pc.equal(batch["content_hash"], seen["content_hash"])  # null: one is not known
    same_file = pc.and_(*(_same(batch[name], seen[name]) for name in ("size_bytes", "mtime")))
    same = pc.if_else(pc.is_valid(batch["content_hash"]), same_hash, same_file)
    found = pc.if_else(same, place, pa.nulls(len(place), place.type))
    return found.combine_chunks() if isinstance(found, pa.ChunkedArray) else found


def _same(left: pa.Array, right: pa.Array) -> pa.Array:
    """Whether values are equal, or both null."""
    return pc.fill_null(pc.equal(left, right), pc.and_(pc.is_null(left), pc.is_null(right)))
