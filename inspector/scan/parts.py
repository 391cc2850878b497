"""The part files of a table: what is read from and written to them."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from inspector.data.address import Moved, path_of
from inspector.errors import OutputError
from inspector.plain import opened
from inspector.scan.schema import METADATA_PREFIX, SCHEMA, display_path

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

FINGERPRINT = "fingerprint"
"""Names, in a part's metadata, the scan that it belongs to."""
UNREADABLE = (pa.ArrowException, OSError, KeyError, ValueError, OverflowError, MemoryError)
"""What a damaged part can make the reader raise."""


def encode(table: pa.Table) -> pa.Buffer:
    """A table as the content of a part file."""
    stream = pa.BufferOutputStream()
    # Checksums guard a part that is not in the manifest yet.
    options = {"compression": "zstd", "write_page_checksum": True}
    with pq.ParquetWriter(stream, table.schema, **options) as writer:
        if table.num_rows:  # Hugging Face datasets cannot read a row group without rows
            writer.write_table(table)
    return stream.getvalue()


def examine(path: Path, fingerprint: str) -> int:
    """The number of rows of a part. Raises OutputError for one that cannot be read, is from
    another scan or has other columns."""
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


def read_columns(path: Path, columns: Sequence[str]) -> pa.Table:
    """Raises OutputError for a part that cannot be read."""
    with opened_part(path) as file:
        return file.read(columns=list(columns), use_threads=False)


def without(path: Path, uris: Sequence[str]) -> tuple[pa.Buffer, int, int]:
    """A part's new content without the rows of `uris`, in the same order and with the same
    metadata; the rows that are left, and those that are not. Raises OutputError."""
    with opened_part(path) as file:
        table = file.read(use_threads=False)
    gone = pc.is_in(table["uri"], value_set=pa.array(uris, pa.string()))
    left = table.filter(pc.invert(gone))
    return encode(left), left.num_rows, table.num_rows - left.num_rows


def renamed(path: Path, moved: Moved) -> tuple[pa.Buffer, int, int]:
    """A part's new content with the addresses that its photos have now; its rows, and those that
    are renamed. Raises OutputError."""
    with opened_part(path) as file:
        table = file.read(use_threads=False)
    before, shown = table["uri"].to_pylist(), table["path"].to_pylist()
    uris = [moved.apply(uri) for uri in before]
    paths = [
        path if new == old else display_path(path_of(new))
        for new, old, path in zip(uris, before, shown, strict=True)
    ]
    for name, values in (("uri", uris), ("path", paths)):
        at = table.schema.get_field_index(name)
        table = table.set_column(at, SCHEMA.field(name), pa.array(values, pa.string()))
    count = sum(new != old for new, old in zip(uris, before, strict=True))
    return encode(table), table.num_rows, count


@contextlib.contextmanager
def opened_part(
    path: Path, remedy: str = "remove it to have its photos scanned again", **options: Any
) -> Iterator[pq.ParquetFile]:
    """A part, to read. Raises OutputError with what to do for one that cannot be read. Arrow gets a
    file and no name, which it would take for an address where it has a colon."""
    try:
        with opened(path) as stream, pq.ParquetFile(stream, **options) as file:
            yield file
    except UNREADABLE as error:
        why = getattr(error, "strerror", None) or error
        raise OutputError(f"{path} cannot be read ({why}); {remedy}") from error
