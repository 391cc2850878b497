"""The table against the photos as they are now."""

from __future__ import annotations

import hashlib
import os
import stat
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from inspector.photos.address import path_of
from inspector.photos.content import open_without_waiting
from inspector.results.schema import display_path
from inspector.results.verify.findings import Remark

if TYPE_CHECKING:
    from collections.abc import Iterator

COLUMNS = ["uri", "size_bytes", "mtime", "content_hash"]


def photo_remarks(batch: pa.RecordBatch) -> Iterator[tuple[Remark, str, str]]:
    """What is no longer as in these rows: kind, file, and in words what. The batch has `COLUMNS`;
    every file whose size and time still fit is read."""
    for uri, size, mtime_us, sha256 in zip(*map(_values, COLUMNS, batch.columns), strict=True):
        try:
            path = path_of(uri)
        except ValueError:
            yield Remark.PHOTO_SKIPPED, uri, "its address names no file on this machine"
            continue
        found = _compare(path, size, mtime_us, sha256)
        if found is not None:
            yield found[0], display_path(path), found[1]


def _values(name: str, column: Any) -> list[Any]:
    """Times as microseconds: a table may hold times that Python's calendar does not have."""
    values: list[Any] = (pc.cast(column, pa.int64()) if name == "mtime" else column).to_pylist()
    return values


def _compare(
    path: str, size: int | None, mtime_us: int | None, sha256: str | None
) -> tuple[Remark, str] | None:
    try:
        about = os.stat(path)
        if about.st_size != size or mtime_us not in (None, about.st_mtime_ns // 1000):
            return Remark.PHOTO_CHANGED, "another size or time than in its row"
        if sha256 is None or not stat.S_ISREG(about.st_mode):
            return Remark.PHOTO_SKIPPED, "its row has no hash to compare with; size and time fit"
        with open(path, "rb", opener=open_without_waiting) as stream:
            same = hashlib.file_digest(stream, "sha256").hexdigest() == sha256
    except (OSError, ValueError) as error:
        if size is None:
            return Remark.PHOTO_SKIPPED, "it could not be found at the time of the scan either"
        return Remark.PHOTO_GONE, getattr(error, "strerror", None) or str(error)
    return None if same else (Remark.PHOTO_CONTENT, "other content at the same size and time")
