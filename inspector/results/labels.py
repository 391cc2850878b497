"""What people decided about photos: kept beside a scan's table, joined to it by file and content.

    OUT/_inspector/labels.jsonl   a line of JSON per decision, never changed, only added to

The last line of a photo counts. A label belongs to the bytes that were looked at. It applies to a
row of the table as long as the row was made from the same bytes, so it outlives a rescan and never
sticks to a replaced photo.
"""

from __future__ import annotations

import contextlib
import json
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json
import pyarrow.parquet as pq

from inspector.core.durable import append_synced, locked, make_directory, reporting
from inspector.core.layout import Layout
from inspector.core.plain import opened, plain, read_plain
from inspector.errors import OutputError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from inspector.photos.address import Moved
    from inspector.types import JsonObject

SCHEMA = pa.schema(
    [
        pa.field("id", pa.int64(), nullable=False),
        pa.field("uri", pa.string(), nullable=False),
        pa.field("label", pa.string()),
        pa.field("content_hash", pa.string()),
        pa.field("size_bytes", pa.int64()),
        pa.field("mtime", pa.timestamp("us")),
        pa.field("verdict", pa.string()),
        pa.field("p_crack", pa.float32()),
        pa.field("model", pa.string()),
        pa.field("labelled_at", pa.timestamp("us"), nullable=False),
        pa.field("reviewer", pa.string(), nullable=False),
        pa.field("undoes", pa.int64()),
    ]
)
"""`id` counts from 0; times are UTC; `verdict`, `p_crack` and `model` (the bundle's digest) are
what the table said at that moment. A line that takes back the decision `undoes` says again what
stood before, or has a null `label`."""

_NO_SIZE = -1
_NO_TIME = -(2**63)


class Label(StrEnum):
    """What a person may say about a photo."""

    CRACK = "crack"
    CLEAR = "clear"
    UNSURE = "unsure"
    """Looked at and left open; nothing learns from it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """One look at one photo. `content_hash`, `size_bytes` and `mtime` (UTC, no time zone) are
    those of the bytes that were shown; None where there was nothing to show."""

    uri: str
    label: Label
    content_hash: str | None
    size_bytes: int | None
    mtime: datetime | None
    verdict: str | None
    p_crack: float | None
    model: str | None


class LabelStore:
    """The decisions of one result directory, to be added to; see `open_labels`."""

    def __init__(self, out: Path, reviewer: str) -> None:
        self.out = out
        self.reviewer = reviewer.encode("utf-8", "backslashreplace").decode()
        self._read = _read(out)
        self._added: list[JsonObject] = []

    @property
    def table(self) -> pa.Table:
        """All decisions ever made, in their order."""
        return pa.concat_tables([self._read, pa.Table.from_pylist(self._added, schema=SCHEMA)])

    def __len__(self) -> int:
        return int(self._read.num_rows) + len(self._added)

    def add(self, decision: Decision) -> None:
        """Keep a decision; it is on disk when this returns. Raises OutputError."""
        self._append(asdict(decision) | self._now())

    def undo(self) -> JsonObject | None:
        """Take back this reviewer's newest standing decision; its row, or None where there is
        none. Raises OutputError."""
        table = self.table
        undone_ids = pc.drop_null(table["undoes"]).combine_chunks()
        gone = pc.or_(pc.is_valid(table["undoes"]), pc.is_in(table["id"], value_set=undone_ids))
        standing = table.filter(pc.invert(gone))
        mine = standing.filter(pc.equal(standing["reviewer"], self.reviewer))
        if not mine.num_rows:
            return None
        undone: JsonObject = mine.slice(mine.num_rows - 1).to_pylist()[0]
        others = standing.filter(pc.not_equal(standing["id"], undone["id"]))
        before = others.filter(pc.equal(others["uri"], undone["uri"])).to_pylist()
        nothing = {"uri": undone["uri"]} | self._now()
        self._append((before[-1] if before else nothing) | {"undoes": undone["id"]})
        return undone

    def move(self, moved: Moved) -> None:
        """Say what was said about photos again for the addresses that they have now. Raises
        OutputError."""
        known = set(self.table["uri"].to_pylist())
        said = latest(self.table).to_pylist()
        new = [row | {"uri": moved.apply(row["uri"]), "undoes": None} for row in said]
        self._append(*(row for row in new if row["uri"] not in known))

    def _now(self) -> JsonObject:
        return {"labelled_at": datetime.now(UTC).replace(tzinfo=None), "reviewer": self.reviewer}

    def _append(self, *decisions: JsonObject) -> None:
        first = len(self)
        rows = [values | {"id": id_} for id_, values in enumerate(decisions, first)]
        ordered = ({name: row.get(name) for name in SCHEMA.names} for row in rows)
        lines = "".join(json.dumps(row, default=str) + "\n" for row in ordered)
        with reporting(self.out, lambda: "earlier labels are safe, this one is not kept"):
            append_synced(lines.encode(), Layout(self.out).labels)
        self._added += rows


@contextlib.contextmanager
def open_labels(out: Path, reviewer: str) -> Iterator[LabelStore]:
    """The labels of a result directory, for this process alone. Raises OutputError: another
    process holds them, they are damaged, or cannot be written."""
    at = Layout(out)
    with contextlib.ExitStack() as stack:
        with reporting(out, lambda: "labels are as they were"):
            at.check()
            make_directory(at.work)
            try:
                stack.enter_context(locked(at.labels_lock))
            except OutputError as error:
                raise OutputError(
                    f"{out} is being reviewed by another process; use that one, or end it first"
                ) from error
            store = LabelStore(out, reviewer)
            _cut_torn_line(at.labels)
        yield store


def read_labels(out: Path) -> pa.Table:
    """The decision that counts for each photo of a result directory; columns as in `SCHEMA`, in the
    order in which they were made. Empty where nobody has labelled anything. Raises OutputError for
    a file that is damaged."""
    return latest(_read(out))


def latest(decisions: pa.Table) -> pa.Table:
    """Of all decisions, the one for each uri that counts."""
    newest = decisions.group_by("uri").aggregate([("id", "max")])["id_max"]
    last = decisions.filter(pc.is_in(decisions["id"], value_set=newest.combine_chunks()))
    return last.filter(pc.is_valid(last["label"]))


def with_human_verdicts(results: pa.Table, labels: pa.Table) -> pa.Table:
    """Rows of a scan's table with the column `human_verdict` (`crack`, `clear`, `unsure`, or null)
    after the others. `results` needs `uri`, `content_hash`, `size_bytes` and `mtime`; `labels` is
    what `read_labels` gives. A label of other bytes than the row's does not count; size and time
    stand for the bytes where the scan could not read them."""
    uris = labels["uri"].combine_chunks()
    said = labels.take(pc.index_in(results["uri"], value_set=uris))
    same_bytes = pc.fill_null(pc.equal(results["content_hash"], said["content_hash"]), False)
    unread = pc.and_(pc.is_null(results["content_hash"]), _same_file(results, said))
    human = pc.if_else(pc.or_(same_bytes, unread), said["label"], pa.scalar(None, pa.string()))
    return results.append_column("human_verdict", human)


def human_verdicts(out: Path) -> pa.Table:
    """What people said about the photos of a result directory, beside what the model said: `uri`,
    `path`, `verdict`, `p_crack`, `human_verdict`, one row per photo. Raises OutputError."""
    labels = read_labels(out)
    columns = ["uri", "path", "verdict", "p_crack", "content_hash", "size_bytes", "mtime"]
    found = []
    try:
        for part in Layout(out).parts():
            with opened(part) as stream:
                rows = pq.ParquetFile(stream).read(columns)
            found.append(rows.filter(pc.is_in(rows["uri"], labels["uri"].combine_chunks())))
        joined = with_human_verdicts(pa.concat_tables(found), labels)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise OutputError(f"cannot read the table in {out}: {error}") from error
    joined = joined.filter(pc.is_valid(joined["human_verdict"]))
    return joined.select(["uri", "path", "verdict", "p_crack", "human_verdict"])


def _same_file(results: pa.Table, said: pa.Table) -> pa.ChunkedArray:
    """Whether size and time of change are those of the labelled file."""

    def same(name: str, nothing: int) -> pa.ChunkedArray:
        here, there = (pc.fill_null(t[name].cast(pa.int64()), nothing) for t in (results, said))
        return pc.equal(here, there)

    found = pc.is_valid(said["uri"])
    return pc.and_(found, pc.and_(same("size_bytes", _NO_SIZE), same("mtime", _NO_TIME)))


def _read(out: Path) -> pa.Table:
    """All decisions ever made, in their order. A line that a crash has torn was never acknowledged
    and is left out."""
    file = Layout(out).labels
    try:
        content = read_plain(file)
    except FileNotFoundError:
        return SCHEMA.empty_table()
    except OSError as error:
        raise OutputError(f"cannot read {file}: {error.strerror or error}") from error
    whole = content[: content.rfind(b"\n") + 1]
    if not whole:
        return SCHEMA.empty_table()
    rules = pyarrow.json.ParseOptions(explicit_schema=SCHEMA, unexpected_field_behavior="error")
    try:
        table = pyarrow.json.read_json(pa.BufferReader(whole), parse_options=rules)
        table = table.select(SCHEMA.names).cast(SCHEMA)
    except (pa.ArrowException, KeyError, ValueError) as error:
        raise OutputError(f"{file} is damaged ({error}); put a copy of it back") from error
    return table


def _cut_torn_line(file: Path) -> None:
    """What a crash has left of a line must not begin the next one."""
    with contextlib.suppress(FileNotFoundError), open(file, "rb+", opener=plain) as stream:
        stream.truncate(stream.read().rfind(b"\n") + 1)
