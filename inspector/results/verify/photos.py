"""Compare a table with the photos as they are now."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from inspector.photos.address import text_of
from inspector.photos.limits import Refused
from inspector.photos.source import source_of
from inspector.results.verify.findings import Remark

if TYPE_CHECKING:
    from collections.abc import Iterator

    from inspector.photos.source import Source

COLUMNS = ["uri", "size_bytes", "mtime", "content_hash"]


def photo_remarks(batch: pa.RecordBatch) -> Iterator[tuple[Remark, str, str]]:
    """Yield what is no longer as in these rows: kind, file, and in words what. The batch has
    `COLUMNS`; every file whose size and time still fit is read."""
    for uri, size, mtime_us, sha256 in zip(*map(_values, COLUMNS, batch.columns), strict=True):
        try:
            source = source_of(uri)
        except ValueError:
            yield Remark.PHOTO_SKIPPED, uri, "its address names no file on this machine"
            continue
        found = _compare(source, uri, size, mtime_us, sha256)
        if found is not None:
            yield found[0], text_of(uri), found[1]


def _values(name: str, column: Any) -> list[Any]:
    """Times as microseconds: a table may hold times that Python's calendar does not have."""
    values: list[Any] = (pc.cast(column, pa.int64()) if name == "mtime" else column).to_pylist()
    return values


def _compare(
    source: Source, uri: str, size: int | None, mtime_us: int | None, sha256: str | None
) -> tuple[Remark, str] | None:
    try:
        facts = source.facts(uri)
        if facts.size != size or mtime_us not in (None, facts.mtime_us):
            return Remark.PHOTO_CHANGED, "another size or time than in its row"
        if sha256 is None:
            return Remark.PHOTO_SKIPPED, "its row has no hash to compare with; size and time fit"
        with source.open(uri) as file:
            same = hashlib.file_digest(file, "sha256").hexdigest() == sha256
    except (OSError, ValueError, Refused) as error:
        if size is None:
            return Remark.PHOTO_SKIPPED, "it could not be found at the time of the scan either"
        return Remark.PHOTO_GONE, getattr(error, "strerror", None) or str(error)
    return None if same else (Remark.PHOTO_CONTENT, "other content at the same size and time")
