"""One review of one result directory: its index, its labels, and what was shown to whom."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from inspector.photos.address import Moved
from inspector.results.labels import SCHEMA as LABEL_SCHEMA
from inspector.results.labels import Decision, Label, latest, with_human_verdicts
from inspector.reviewing.index import LABELS, Index, StaleTableError, build_index
from inspector.reviewing.queue import Filters, counts, select
from inspector.reviewing.rows import Rows

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from inspector.results.labels import LabelStore
    from inspector.reviewing.pictures import Picture
    from inspector.types import JsonObject

LONGEST_PAGE = 200
_KEPT_QUEUES = 8
_EPOCH = datetime(1970, 1, 1)
_MODEL = "model"
"""The table's metadata and identity name the bundle's digest so."""


class PhotoError(Exception):
    """A decision that cannot be taken; the message is for the reviewer."""


@dataclass(frozen=True, slots=True)
class Shown:
    """The bytes that a reviewer has seen."""

    content_hash: str
    size_bytes: int | None
    mtime: datetime | None


class Session:
    """What the pages ask for; every method may be called from any thread.

    Rows are numbered within one `generation` of the index: when a scan changes the table, it is
    indexed anew, and requests that still speak of the old numbers get StaleTableError.
    """

    def __init__(self, out: Path, store: LabelStore, moved: Moved | None = None) -> None:
        self.out = out
        self.generation = 0
        self._store = store
        self._moved = moved
        self._lock = threading.RLock()
        self._queues: OrderedDict[str, NDArray[np.int32]] = OrderedDict()
        self._queues_made = 0
        self._open_table()

    @property
    def model(self) -> str:
        """Digest of the bundle that made the table; empty for tables that do not say."""
        return self._index.metadata.get(_MODEL, "")

    @property
    def thresholds(self) -> tuple[float, float]:
        """`clear_below` and `crack_from` of the scan; NaN for tables that do not say."""
        found = (self._index.metadata.get(name, "nan") for name in ("clear_below", "crack_from"))
        clear_below, crack_from = map(float, found)
        return clear_below, crack_from

    @property
    def labelled(self) -> int:
        """Rows that have a label."""
        return int(np.count_nonzero(self._index.label_N))

    def __len__(self) -> int:
        return len(self._index)

    def start_queue(self, filters: Filters) -> JsonObject:
        """A new list of rows to look at, fixed from now on whatever is labelled; where it begins
        to be unlabelled, and how many rows of each kind the table has."""
        with self._lock:
            if not self._index.is_current(self.out):
                self._open_table()
            rows = select(self._index, self._rows, filters)
            self._queues_made += 1
            name = f"{self.generation}.{self._queues_made}"
            self._queues[name] = rows
            if len(self._queues) > _KEPT_QUEUES:
                self._queues.popitem(last=False)
            unlabelled = np.flatnonzero(self._index.label_N[rows] == 0)
            return {
                "queue": name,
                "generation": self.generation,
                "first_open": int(unlabelled[0]) if len(unlabelled) else 0,
                "counts": counts(self._index),
                **self._progress(name),
            }

    def page(self, queue: str, start: int, count: int) -> list[JsonObject]:
        """Rows of a queue from position `start` on, at most LONGEST_PAGE, with what a list shows
        of them."""
        with self._lock:
            begin = max(0, start)
            wanted = self._queue(queue)[begin : begin + min(count, LONGEST_PAGE)].tolist()
            paths = self._rows.paths(wanted)
            return [
                {"path": path, **self._index.facts(row)}
                for row, path in zip(wanted, paths, strict=True)
            ]

    def facts(self, generation: int, row: int) -> JsonObject:
        """All that is shown of one row."""
        with self._lock:
            return self._for_page(self._row(generation, row))

    def path(self, generation: int, row: int) -> str:
        """Where a row's photo lies."""
        with self._lock:
            return self._place(self._row(generation, row)["uri"])

    def saw(self, generation: int, row: int, picture: Picture) -> bool:
        """Remember what a reviewer is shown; whether it is still what the scan judged."""
        mtime = None
        if picture.mtime_us is not None:
            mtime = _EPOCH + timedelta(microseconds=picture.mtime_us)
        shown = Shown(picture.content_hash, picture.size_bytes, mtime)
        with self._lock:
            values = self._row(generation, row)
            self._shown[row] = shown
            return _is_same(values, shown)

    def decide(self, generation: int, row: int, uri: str, label: Label, queue: str) -> JsonObject:
        """Keep a decision about the photo that was shown as `row`. Raises PhotoError where nothing
        was shown or the photo is not the one that was scanned, StaleTableError, OutputError."""
        with self._lock:
            values = self._row(generation, row)
            if values["uri"] != uri:
                raise StaleTableError(uri)
            seen = self._seen(values, label)
            decision = Decision(
                uri=uri,
                label=label,
                content_hash=seen.content_hash if seen else values["content_hash"],
                size_bytes=seen.size_bytes if seen else values["size_bytes"],
                mtime=seen.mtime if seen else values["mtime"],
                verdict=values["verdict"],
                p_crack=values["p_crack"],
                model=self.model or None,
            )
            self._store.add(decision)
            self._row_of[uri] = row
            self._index.label_N[row] = LABELS.index(label) + 1
            return {"row": self._for_page(values), **self._progress(queue)}

    def undo(self, queue: str) -> JsonObject:
        """Take back this reviewer's newest decision: `row` is that photo's, None where there is
        nothing to take back; `at` is its place in the queue, None where it is not in there."""
        with self._lock:
            undone = self._store.undo()
            if undone is None:
                return {"row": None, "at": None, **self._progress(queue)}
            row = self._row_of.get(undone["uri"])
            if row is None:
                row = self._rows.find(undone["uri"])
            if row is None:
                return {"row": None, "at": None, "gone": True, **self._progress(queue)}
            values = self._rows.get(row)
            self._index.label_N[row] = self._standing_label(values)
            at = np.flatnonzero(self._queues.get(queue, np.empty(0, np.int32)) == row)
            return {
                "row": self._for_page(values),
                "at": int(at[0]) if len(at) else None,
                **self._progress(queue),
            }

    def _open_table(self) -> None:
        self._index: Index = build_index(self.out, self._store.table)
        self._rows = Rows(self._index)
        self._shown: dict[int, Shown] = {}
        self._row_of: dict[str, int] = {}
        self._queues.clear()
        self.generation += 1

    def _queue(self, name: str) -> NDArray[np.int32]:
        if name not in self._queues:
            raise StaleTableError(f"list {name}")
        self._queues.move_to_end(name)
        return self._queues[name]

    def _row(self, generation: int, row: int) -> JsonObject:
        if generation != self.generation or not 0 <= row < len(self._index):
            raise StaleTableError(f"row {row}")
        return self._rows.get(row)

    def _place(self, uri: str) -> str:
        return self._moved.apply(uri) if self._moved else uri

    def _seen(self, values: JsonObject, label: Label) -> Shown | None:
        """What a `crack` or `clear` is about; an `unsure` is about the row, shown or not."""
        if label is Label.UNSURE:
            return None
        shown = self._shown.get(values["row"])
        if shown is None:
            raise PhotoError("the photo has not been shown; only what was seen can be labelled")
        if not _is_same(values, shown):
            raise PhotoError("the file has changed since the scan; scan again, then label it")
        return shown

    def _standing_label(self, values: JsonObject) -> int:
        keys = ("uri", "content_hash", "size_bytes", "mtime")
        schema = pa.schema([LABEL_SCHEMA.field(name) for name in keys])
        row = pa.Table.from_pylist([{name: values[name] for name in keys}], schema=schema)
        label = with_human_verdicts(row, latest(self._store.table))["human_verdict"][0].as_py()
        return LABELS.index(label) + 1 if label else 0

    def _progress(self, queue: str) -> JsonObject:
        rows = self._queues.get(queue, np.empty(0, np.int32))
        return {
            "rows": len(self._index),
            "labelled": self.labelled,
            "in_queue": len(rows),
            "labelled_in_queue": int(np.count_nonzero(self._index.label_N[rows])),
        }

    def _for_page(self, values: JsonObject) -> JsonObject:
        place = int(self._index.label_N[values["row"]])
        fit = {
            name: value.isoformat() if isinstance(value, datetime) else value
            for name, value in values.items()
        }
        return {**fit, "label": LABELS[place - 1] if place else None}


def _is_same(values: JsonObject, shown: Shown) -> bool:
    """Whether the bytes shown are those that the row was made from; size and time stand for them
    where the scan could not read them."""
    if values["content_hash"] is not None:
        return bool(values["content_hash"] == shown.content_hash)
    return (values["size_bytes"], values["mtime"]) == (shown.size_bytes, shown.mtime)
