"""What people decided about photos: kept beside a scan's table, joined to it by file and content.

    OUT/_inspector/labels.parquet   one row per decision, never changed, only added to
    OUT/_inspector/labels.lock      held by the one process that adds

A label belongs to the bytes that were looked at. It applies to a row of the table as long as the
row was made from the same bytes, so it outlives a rescan and never sticks to a replaced photo.
"""

from __future__ import annotations

import contextlib
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from inspector.data.source import RESULTS_DIR
from inspector.durable import locked, make_directory, publish, reporting
from inspector.errors import OutputError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from inspector.types import JsonObject

LABELS = "labels.parquet"
_LOCK = "labels.lock"
_DRAFT = "labels.draft"
LABEL_FILES = frozenset({LABELS, _LOCK, _DRAFT})
"""People's work inside the working directory: a scan leaves it alone, even to start anew."""

SCHEMA = pa.schema(
    [
        pa.field("id", pa.int64(), nullable=False),
        pa.field("uri", pa.string(), nullable=False),
        pa.field("content_hash", pa.string()),
        pa.field("size_bytes", pa.int64()),
        pa.field("mtime", pa.timestamp("us", tz="UTC")),
        pa.field("label", pa.string()),
        pa.field("undoes", pa.int64()),
        pa.field("verdict", pa.string()),
        pa.field("p_crack", pa.float32()),
        pa.field("model", pa.string()),
        pa.field("labelled_at", pa.timestamp("us", tz="UTC"), nullable=False),
        pa.field("reviewer", pa.string(), nullable=False),
    ]
)
"""`id` counts from 0; `label` is null where the row only takes back the decision `undoes`;
`verdict`, `p_crack` and `model` (the bundle's digest) are what the table said at that moment."""

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
    """One look at one photo. `content_hash`, `size_bytes` and `mtime` are those of the bytes that
    were shown; None where there was nothing to show."""

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
        self.reviewer = reviewer
        self.table = _read(out)

    def add(self, decision: Decision) -> None:
        """Keep a decision; it is on disk when this returns. Raises OutputError."""
        self._append({**asdict(decision), "label": decision.label.value})

    def undo(self) -> JsonObject | None:
        """Take back this reviewer's newest standing decision; its row, or None where there is
        none. Raises OutputError."""
        standing = _standing(self.table)
        mine = standing.filter(pc.equal(standing["reviewer"], self.reviewer))
        if not mine.num_rows:
            return None
        undone: JsonObject = mine.slice(mine.num_rows - 1).to_pylist()[0]
        about = {name: undone[name] for name in ("uri", "content_hash", "size_bytes", "mtime")}
        self._append({**about, "undoes": undone["id"]})
        return undone

    def _append(self, values: JsonObject) -> None:
        row = {
            **values,
            "id": self.table.num_rows,
            "labelled_at": datetime.now(UTC),
            "reviewer": self.reviewer,
        }
        table = pa.concat_tables([self.table, pa.Table.from_pylist([row], schema=SCHEMA)])
        table = table.combine_chunks()
        folder = self.out / RESULTS_DIR
        with reporting(self.out, lambda: "earlier labels are safe, this one is not kept"):
            publish(_encode(table), folder / LABELS, folder / _DRAFT)
        self.table = table


@contextlib.contextmanager
def open_labels(out: Path, reviewer: str) -> Iterator[LabelStore]:
    """The labels of a result directory, for this process alone. Raises OutputError: another
    process holds them, they are damaged, or cannot be written."""
    folder = out / RESULTS_DIR
    with contextlib.ExitStack() as stack:
        with reporting(out, lambda: "labels are as they were"):
            make_directory(folder)
            try:
                stack.enter_context(locked(folder / _LOCK))
            except OutputError as error:
                raise OutputError(
                    f"{out} is being reviewed by another process; use that one, or end it first"
                ) from error
            (folder / _DRAFT).unlink(missing_ok=True)
        yield LabelStore(out, reviewer)


def read_labels(out: Path) -> pa.Table:
    """The standing decision for each photo of a result directory, the newest one that was not
    taken back; columns as in `SCHEMA`, in the order in which they were made. Empty where nobody
    has labelled anything. Raises OutputError for a file that is damaged."""
    return latest(_read(out))


def latest(decisions: pa.Table) -> pa.Table:
    """Of all decisions, the standing one for each uri."""
    standing = _standing(decisions)
    newest = standing.group_by("uri").aggregate([("id", "max")])["id_max"]
    return standing.filter(pc.is_in(standing["id"], value_set=newest.combine_chunks()))


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
    `path`, `verdict`, `p_crack`, `human_verdict`, one row per labelled photo. Reads only the rows
    that have a label. Raises OutputError."""
    import pyarrow.dataset as ds

    labels = read_labels(out)
    columns = ["uri", "path", "verdict", "p_crack", "content_hash", "size_bytes", "mtime"]
    files = [str(file) for file in sorted(out.glob("part-*.parquet"))]
    try:
        table = ds.dataset(files or str(out), format="parquet")
        rows = table.to_table(columns, filter=ds.field("uri").isin(labels["uri"].combine_chunks()))
    except (pa.ArrowException, OSError) as error:
        raise OutputError(f"cannot read the table in {out}: {error}") from error
    joined = with_human_verdicts(rows, labels)
    joined = joined.filter(pc.is_valid(joined["human_verdict"]))
    return joined.select(["uri", "path", "verdict", "p_crack", "human_verdict"])


def _standing(decisions: pa.Table) -> pa.Table:
    """Without those that were taken back, and without the taking back."""
    undone = pc.drop_null(decisions["undoes"]).combine_chunks()
    gone = pc.is_in(decisions["id"], value_set=undone)
    return decisions.filter(pc.and_(pc.is_valid(decisions["label"]), pc.invert(gone)))


def _same_file(results: pa.Table, said: pa.Table) -> pa.ChunkedArray:
    """Whether size and time of change are those of the labelled file."""

    def same(name: str, nothing: int) -> pa.ChunkedArray:
        here, there = (pc.fill_null(t[name].cast(pa.int64()), nothing) for t in (results, said))
        return pc.equal(here, there)

    found = pc.is_valid(said["uri"])
    return pc.and_(found, pc.and_(same("size_bytes", _NO_SIZE), same("mtime", _NO_TIME)))


def _encode(table: pa.Table) -> bytes:
    stream = pa.BufferOutputStream()
    pq.write_table(table, stream, compression="zstd", write_page_checksum=True)
    content: bytes = stream.getvalue().to_pybytes()
    return content


def _read(out: Path) -> pa.Table:
    """All decisions ever made, in their order."""
    file = out / RESULTS_DIR / LABELS
    try:
        content = file.read_bytes()
    except FileNotFoundError:
        return SCHEMA.empty_table()
    except OSError as error:
        raise OutputError(f"cannot read {file}: {error.strerror or error}") from error
    try:
        table = pq.read_table(pa.BufferReader(content), page_checksum_verification=True)
    except pa.ArrowException as error:
        raise OutputError(f"{file} is damaged ({error}); put a copy of it back") from error
    if not table.schema.equals(SCHEMA):
        raise OutputError(f"{file} has other columns than this version writes; move it away")
    return table
