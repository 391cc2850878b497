"""A finished table as a Delta Lake table: one transaction, after the scan and never in its way."""

from __future__ import annotations

import hashlib
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa

from inspector.core.durable import is_empty
from inspector.core.layout import Layout
from inspector.core.progress import no_progress
from inspector.core.text import display_path, quantity
from inspector.core.untrusted import sha256_of, take_paths
from inspector.errors import OutputError, UsageError
from inspector.results.labels import read_decisions
from inspector.results.merge import FinishedTable
from inspector.results.opening import at_hand
from inspector.results.reader import Table
from inspector.results.view import VIEW, view_batches, view_schema

if TYPE_CHECKING:
    from collections.abc import Iterator

    from inspector.core.progress import Progress
    from inspector.types import JsonObject

_APPLICATION = "inspector"
"""Name under which a Delta table remembers what was published last."""


_REFUSED = set("[]^|")
"""Characters of a local path at which deltalake 1.6 panics."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishConfig:
    """Raises UsageError when a value cannot be right."""

    out: Path | str
    """Result directory of a scan that came to its end, or its address in a bucket."""
    delta: Path | str
    """Directory, or address in a bucket, of the Delta table: made, or replaced by a new version."""

    def __post_init__(self) -> None:
        take_paths(self)
        if isinstance(self.delta, str):
            return
        out, delta = os.path.realpath(self.out), os.path.realpath(self.delta)
        if os.path.join(delta, "").startswith(os.path.join(out, "")):
            raise UsageError(f"--delta {self.delta} lies in the result directory; name another")
        if wrong := sorted(_REFUSED & set(delta)):
            raise UsageError(
                f"--delta {self.delta}: a Delta table cannot lie below a name with "
                f"{' '.join(wrong)} in it; name another"
            )
        free = not os.path.exists(delta) or is_empty(self.delta)
        if not free and not os.path.isdir(os.path.join(delta, "_delta_log")):
            raise UsageError(
                f"--delta {self.delta} is there, not empty and no Delta table; name a new one"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishResult:
    """Result of a publication."""

    out: Path | str
    delta: Path | str
    rows: int
    version: int
    """Of the Delta table."""
    unchanged: bool
    """That version held the table as it is now already."""

    def to_json(self) -> JsonObject:
        places = {name: display_path(str(getattr(self, name))) for name in ("out", "delta")}
        return asdict(self) | places


def publish(config: PublishConfig, *, progress: Progress = no_progress) -> PublishResult:
    """Make all rows of `config.out`, with what people said about them, the next version of a Delta
    table, in one transaction; where its last one has them, change nothing.

    Raises OutputError where the scan was not finished, a part is not as it was committed, the Delta
    table is somebody else's, or it cannot be written.
    """
    from deltalake import CommitProperties, DeltaTable, Transaction, write_deltalake
    from deltalake.exceptions import DeltaError

    with at_hand(config.out) as out:
        table = FinishedTable.of(config.out, out, then="publish")
        state = _state(table, progress)
        rows, place = Table.open(out), os.fspath(config.delta)
        try:
            unchanged = False
            if DeltaTable.is_deltatable(place):
                last = DeltaTable(place).transaction_version(_APPLICATION)
                if last is None:
                    raise OutputError(
                        f"{place} is a Delta table that inspector has not published; name another"
                    )
                unchanged = last == state
            if not unchanged:
                done = CommitProperties(app_transactions=[Transaction(_APPLICATION, state)])
                data = pa.RecordBatchReader.from_batches(_SCHEMA, _batches(rows, progress))
                write_deltalake(
                    place, data, mode="overwrite", schema_mode="overwrite", commit_properties=done
                )
            version = DeltaTable(place).version()
        except (DeltaError, OSError, ValueError, pa.ArrowException) as error:
            raise OutputError(
                f"cannot publish to {place}: {' '.join(str(error).split())[:300]}; it is as it "
                "was, the same command tries again"
            ) from error
    return PublishResult(
        out=config.out, delta=config.delta, rows=len(rows), version=version, unchanged=unchanged
    )


_NAMES = tuple(column.name for column in VIEW)
_SCHEMA = view_schema(_NAMES)


def _state(table: FinishedTable, progress: Progress) -> int:
    """A number for the table and its labels as they are now, 56 bits of a hash. Raises OutputError
    for a part that is not as it was committed."""
    parts, said = table.manifest.parts, hashlib.sha256()
    for done, part in enumerate(parts):
        progress("parts", done, len(parts))
        table.refuse_changed(part, Layout(table.out).table / part.file)
        said.update(part.sha256.encode())
    labels = Layout(table.out).labels
    said.update(sha256_of(labels).encode() if labels.exists() else b"")
    return int.from_bytes(said.digest()[:7], "big")


def _batches(table: Table, progress: Progress) -> Iterator[pa.RecordBatch]:
    done = 0
    for batch in view_batches(table, read_decisions(table.out), _NAMES):
        progress("rows", done, len(table))
        done += batch.num_rows
        yield batch


def published_lines(result: PublishResult) -> list[str]:
    """Say what was published."""
    how = ", as before" if result.unchanged else ""
    said = f"{result.delta} ({quantity(result.rows, 'row')}, version {result.version}{how})"
    return [f"published  {said}", f"table      {result.out}"]
