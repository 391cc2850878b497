"""Part files of a table: encode, read, check and edit them."""

from __future__ import annotations

import contextlib
from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from inspector.core.untrusted import opened, sha256_of
from inspector.errors import OutputError
from inspector.photos.address import Moved, text_of
from inspector.results.manifest import Part
from inspector.results.schema import METADATA_PREFIX, SCHEMA
from inspector.types import FailureCode, Verdict

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

FINGERPRINT = "fingerprint"
"""Key of a part's metadata: the scan that it belongs to."""
REJUDGED = "rejudged"
"""Key of a part's metadata: the thresholds that its rows were first judged with; photos that were
clear then have no place of the evidence."""
OUTCOMES = tuple(map(str, (*Verdict, *FailureCode)))
"""Outcomes of a file, in one word: a verdict, or the code of its failure."""
UNREADABLE = (pa.ArrowException, OSError, KeyError, ValueError, OverflowError, MemoryError)
"""Errors that a damaged part can make the reader raise."""


def encode(table: pa.Table) -> pa.Buffer:
    """Return a table as the content of a part file."""
    stream = pa.BufferOutputStream()
    # Checksums guard a part that is not in the manifest yet.
    options = {"compression": "zstd", "write_page_checksum": True}
    with pq.ParquetWriter(stream, table.schema, **options) as writer:
        if table.num_rows:  # Hugging Face datasets cannot read a row group without rows
            writer.write_table(table)
    return stream.getvalue()


def examine(path: Path, fingerprint: str) -> int:
    """Check a part and return its number of rows. Raises OutputError for one that cannot be read,
    is from another scan or has other columns."""
    with opened_part(path) as file:
        schema, rows = file.schema_arrow, file.metadata.num_rows
    found = (schema.metadata or {}).get(f"{METADATA_PREFIX}{FINGERPRINT}".encode())
    if found != fingerprint.encode():
        raise OutputError(f"{path} is from another scan; move it away or use another --out")
    if not schema.equals(SCHEMA):
        raise OutputError(
            f"{path} has other columns than this version writes; remove it to have its photos "
            "scanned again, or use another --out"
        )
    return int(rows)


def recognise(path: Path, fingerprint: str, listed: Part | None, announced: Part | None) -> Part:
    """A part that is there, as the manifest has it `listed` or `announced`. Raises OutputError for
    one that has become something else."""
    rows = examine(path, fingerprint)
    if listed is not None and announced is None and listed.rows == rows:
        return listed
    part = Part(path.name, rows, sha256_of(path))
    # A part without an entry came between its rename and the manifest.
    if (listed or announced) and part not in (listed, announced):
        raise OutputError(changed(path))
    return part


def read_columns(path: Path, columns: Sequence[str]) -> pa.Table:
    """Read some columns of a part. Raises OutputError where it cannot be read."""
    with opened_part(path) as file:
        return file.read(columns=list(columns), use_threads=False)


def uris_in(path: Path) -> list[str]:
    """Return the photos of a part, in the order of its rows. Raises OutputError."""
    uris: list[str] = read_columns(path, ["uri"])["uri"].to_pylist()
    return uris


def rows_of(path: Path, uris: Iterable[str], columns: Sequence[str]) -> pa.Table:
    """Read some columns of the rows that photos have in a part, their uris among the columns.
    Raises OutputError."""
    rows = read_columns(path, columns)
    return rows.filter(pc.is_in(rows["uri"], value_set=pa.array(uris, pa.string())))


def is_alike(path: Path, table: pa.Table) -> bool:
    """Whether a part was made in the same way as a table: with the same facts, whenever."""
    with opened_part(path) as file:
        return bool(file.schema_arrow.metadata == table.schema.metadata)


def read_part(part: Part, path: Path) -> pa.Table:
    """Read all of a part. Raises OutputError unless its bytes are those committed."""
    with opened_part(path) as file:
        if sha256_of(path) != part.sha256:
            raise OutputError(changed(path))
        return file.read(use_threads=False)


def changed(path: Path) -> str:
    """Return what to do about a part that has become something else."""
    return (
        f"{path} is not the file that was committed; put that back, or remove this one to have "
        "its photos scanned again"
    )


def outcomes_of(table: pa.Table) -> NDArray[np.uint8]:
    """Return the outcome of each row as its place in `OUTCOMES` (uint8, N); one beyond the last
    for a row that says nothing known."""
    words = pc.coalesce(table["verdict"], table["failure_code"])
    places = pc.index_in(words, value_set=pa.array(OUTCOMES))
    outcomes: NDArray[np.uint8] = pc.fill_null(places, len(OUTCOMES)).to_numpy().astype(np.uint8)
    return outcomes


def counted(outcomes: NDArray[np.uint8]) -> Counter[str]:
    """Count the outcomes by word."""
    counts = np.bincount(outcomes, minlength=len(OUTCOMES)).tolist()
    return Counter(dict(zip(OUTCOMES, counts, strict=False)))


def without(table: pa.Table, uris: Sequence[str]) -> tuple[pa.Table, int]:
    """Take the rows of `uris` out; return the others as they were, and how many were taken out."""
    gone = pc.is_in(table["uri"], value_set=pa.array(uris, pa.string()))
    left = table.filter(pc.invert(gone))
    return left, table.num_rows - left.num_rows


def with_more(table: pa.Table, more: pa.Table) -> tuple[pa.Table, int]:
    """Put rows behind those of a part, whose metadata stays; return all, and how many came."""
    return pa.concat_tables([table, more]), len(more)


def renamed(table: pa.Table, moved: Moved, twice: Sequence[str] = ()) -> tuple[pa.Table, int]:
    """Give the rows the addresses that their photos have now, but for those `twice` there, which
    have another row by that address and lose this one; return them, and how many changed."""
    table, left_out = without(table, twice)
    before, shown = table["uri"].to_pylist(), table["path"].to_pylist()
    uris = [moved.apply(uri) for uri in before]
    paths = [
        path if new == old else text_of(new)
        for new, old, path in zip(uris, before, shown, strict=True)
    ]
    for name, values in (("uri", uris), ("path", paths)):
        at = table.schema.get_field_index(name)
        table = table.set_column(at, SCHEMA.field(name), pa.array(values, pa.string()))
    return table, left_out + sum(new != old for new, old in zip(uris, before, strict=True))


@contextlib.contextmanager
def opened_part(
    path: Path, remedy: str = "remove it to have its photos scanned again", **options: Any
) -> Iterator[pq.ParquetFile]:
    """Open a part to be read. Raises OutputError with what to do for one that cannot be read. Arrow
    gets a file and no name, which it would take for an address where it has a colon."""
    try:
        with opened(path) as stream, pq.ParquetFile(stream, **options) as file:
            yield file
    except UNREADABLE as error:
        why = getattr(error, "strerror", None) or error
        raise OutputError(f"{path} cannot be read ({why}); {remedy}") from error
