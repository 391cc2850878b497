"""Labels that people give to photos, beside a scan's table and joined to it by file and content.

    OUT/_inspector/labels.jsonl   a line of JSON per decision, never changed, only added to

The last line of a photo counts: it says all that is said of the photo and of its regions. A label
belongs to the bytes that were looked at, so it outlives a rescan and never sticks to a replaced
photo.
"""

from __future__ import annotations

import contextlib
import json
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.json

from inspector.core.durable import append_synced, locked, make_directory, reporting
from inspector.core.layout import Layout
from inspector.core.untrusted import plain, read_plain
from inspector.errors import OutputError
from inspector.results.schema import BOX

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from inspector.photos.address import Moved
    from inspector.types import JsonObject

REGION = pa.struct([*BOX, pa.field("label", pa.string(), nullable=False)])
"""What a person said of a place in a photo, one of its regions or one that they marked: its box in
pixels of the upright photo, a point without width and height, and `crack` or `clear`."""

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
        pa.field("regions", pa.list_(REGION)),
        pa.field("note", pa.string()),
    ]
)
"""`id` counts from 0; times are UTC; `verdict`, `p_crack` and `model` (the bundle's digest) are
what the table said at that moment. `label` is null where only regions were labelled or a note was
written; `regions` and `note` are null where there are none. A line that takes back the decision
`undoes` says again what stood before, or has neither."""
LONGEST_NOTE = 2000
"""Letters of a note."""


class Label(StrEnum):
    """Labels that a person may give to a photo."""

    CRACK = "crack"
    CLEAR = "clear"
    NOT_CONCRETE = "not_concrete"
    """The photo shows no concrete, so no crack in it; nothing learns from it."""
    UNSURE = "unsure"
    """Looked at and left open; nothing learns from it."""


@dataclass(frozen=True, slots=True)
class RegionLabel:
    """What a person said of a region; fields as in `REGION`."""

    x: int
    y: int
    width: int
    height: int
    label: Label


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """One look at one photo. `content_hash`, `size_bytes` and `mtime` (UTC, no time zone) are
    those of the bytes that were shown; None where there was nothing to show."""

    uri: str
    label: Label | None
    """None: nothing is said of the photo as a whole."""
    content_hash: str | None
    size_bytes: int | None
    mtime: datetime | None
    verdict: str | None
    p_crack: float | None
    model: str | None
    regions: tuple[RegionLabel, ...] = ()
    """All that is said of its regions and of places in it."""
    note: str | None = None


SIDES = tuple(field.name for field in BOX)
Box = tuple[int, int, int, int]
"""A place in a photo: left, top, width and height in pixels of the upright photo."""


def box_of(region: Mapping[str, Any]) -> Box:
    """Return the place of a region, or of what a person said of one."""
    x, y, width, height = (region[side] for side in SIDES)
    return x, y, width, height


class LabelStore:
    """The decisions of one result directory, to be added to; see `open_labels`."""

    def __init__(self, out: Path, reviewer: str) -> None:
        self.out = out
        self.reviewer = reviewer.encode("utf-8", "backslashreplace").decode()
        self._rows: list[JsonObject] = read_decisions(out).to_pylist()
        self._last = {row["uri"]: row for row in self._rows}

    @property
    def table(self) -> pa.Table:
        """Decisions ever made, in their order."""
        return pa.Table.from_pylist(self._rows, schema=SCHEMA)

    def __len__(self) -> int:
        return len(self._rows)

    def add(self, decision: Decision) -> None:
        """Keep a decision; it is on disk when this returns. Raises OutputError."""
        values = asdict(decision)
        self._append(values | {"regions": list(values["regions"]) or None} | self._now())

    def undo(self) -> JsonObject | None:
        """Take back this reviewer's newest standing decision and return it, if there is one. Raises
        OutputError."""
        undone_ids = {row["undoes"] for row in self._rows}
        standing = [
            row for row in self._rows if row["undoes"] is None and row["id"] not in undone_ids
        ]
        mine = [row for row in standing if row["reviewer"] == self.reviewer]
        if not mine:
            return None
        undone = mine[-1]
        before = [row for row in standing if row["uri"] == undone["uri"] and row is not undone]
        nothing = {"uri": undone["uri"]} | self._now()
        self._append((before[-1] if before else nothing) | {"undoes": undone["id"]})
        return undone

    def last(self, uri: str) -> JsonObject | None:
        """Return the decision that counts for a photo; without a `label` if that was taken back."""
        return self._last.get(uri)

    def move(self, moved: Moved) -> int:
        """Repeat decisions for the addresses that their photos have now, where nothing newer is
        said; how many. Raises OutputError."""
        new: dict[str, str] = {}
        for row in filter(says_something, self._last.values()):
            there = self._last.get(now := moved.apply(row["uri"]))
            if there is None or there["labelled_at"] < row["labelled_at"]:
                new[now] = row["uri"]
        return self.repeat(new)

    def repeat(self, said_at: Mapping[str, str]) -> int:
        """Say of photos what counts of others, by address; of how many. Raises OutputError."""
        new = [self._last[old] | {"uri": now, "undoes": None} for now, old in said_at.items()]
        if new:
            self._append(*new)
        return len(new)

    def take(self, decisions: pa.Table) -> int:
        """Take over what counts of decisions made elsewhere, where nothing newer is said here; how
        much of it that is. Raises OutputError."""
        new = []
        for row in {row["uri"]: row for row in decisions.to_pylist()}.values():
            here = self._last.get(row["uri"])
            newer = here is None or row["labelled_at"] > here["labelled_at"]
            if newer and (here or says_something(row)):
                new.append(row | {"undoes": None})
        if new:
            self._append(*new)
        return len(new)

    def _now(self) -> JsonObject:
        return {"labelled_at": datetime.now(UTC).replace(tzinfo=None), "reviewer": self.reviewer}

    def _append(self, *decisions: JsonObject) -> None:
        first = len(self)
        rows = [
            {name: values.get(name) for name in SCHEMA.names} | {"id": id_}
            for id_, values in enumerate(decisions, first)
        ]
        lines = "".join(json.dumps(row, default=str) + "\n" for row in rows)
        with reporting(self.out, lambda: "earlier labels are safe, this one is not kept"):
            append_synced(lines.encode(), Layout(self.out).labels)
        self._rows += rows
        self._last |= {row["uri"]: row for row in rows}


@contextlib.contextmanager
def open_labels(out: Path, reviewer: str) -> Iterator[LabelStore]:
    """Open the labels of a result directory for this process alone. Raises OutputError: another
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


def says_something(row: JsonObject) -> bool:
    """Tell whether a decision says anything, or takes all back."""
    return bool(row["label"] or row["regions"] or row["note"])


def is_of_same_bytes(row: Mapping[str, Any], seen: Mapping[str, Any]) -> bool:
    """Tell whether the bytes that were looked at are those of a table's row; size and time stand
    for them where the scan could not read the file. (For many rows: `view.applying`.)"""
    if row["content_hash"] is not None:
        return bool(row["content_hash"] == seen["content_hash"])
    return (row["size_bytes"], row["mtime"]) == (seen["size_bytes"], seen["mtime"])


def newest(decisions: pa.Table) -> pa.Table:
    """Return, of all decisions in their order, the last for each uri, whatever it says."""
    ids = {uri: place for place, uri in enumerate(decisions["uri"].to_pylist())}
    # Of a list, or of NumPy's array, pyarrow would load pandas, if it is there: 40 MB.
    places = pa.py_buffer(np.array(sorted(ids.values()), np.int64))
    return decisions.take(pa.Array.from_buffers(pa.int64(), len(ids), [None, places]))


def read_decisions(out: Path) -> pa.Table:
    """Return all decisions ever made, in their order. A line that a crash has torn was never
    acknowledged and is left out. Raises OutputError for a file that is damaged."""
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
    one = pyarrow.json.ReadOptions(use_threads=False)
    try:
        table = pyarrow.json.read_json(pa.BufferReader(whole), one, rules)
        table = table.select(SCHEMA.names).cast(SCHEMA)
    except (pa.ArrowException, KeyError, ValueError) as error:
        raise OutputError(f"{file} is damaged ({error}); put a copy of it back") from error
    return table


def _cut_torn_line(file: Path) -> None:
    """Remove what a crash has left of a line, which would begin the next one."""
    with contextlib.suppress(FileNotFoundError), open(file, "rb+", opener=plain) as stream:
        stream.truncate(stream.read().rfind(b"\n") + 1)
