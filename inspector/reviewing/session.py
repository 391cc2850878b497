"""One review of one result directory: its rows, its labels, and what was shown."""

from __future__ import annotations

import threading
from collections import OrderedDict
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from inspector.results.labels import (
    LONGEST_NOTE,
    SIDES,
    Decision,
    Label,
    RegionLabel,
    box_of,
    is_of_same_bytes,
)
from inspector.results.query import Query
from inspector.results.reader import StaleTableError, Table, read_steadily
from inspector.reviewing.queue import Filters, count_left, counts, make_queue, rank

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from inspector.photos.address import Moved
    from inspector.photos.pictures import Picture
    from inspector.results.labels import Box, LabelStore
    from inspector.types import JsonObject

LONGEST_PAGE = 200
MOST_PLACES = 500
"""Places labelled in one photo."""
_NO_CRACK = (Label.CLEAR, Label.NOT_CONCRETE)
MEMORY = 256_000_000
"""Bytes that DuckDB may hold: 15 bytes per row, 4 per row of a list, and more to order them."""
_KEPT_QUEUES = 8
_KEPT_ROWS = 500
_EPOCH = datetime(1970, 1, 1)
_MODEL = "model"
"""The table's facts name the bundle's digest so."""
_SAY = "INSERT INTO said (row, uri, human) VALUES (?, ?, ?)"
_LISTED = ("uri", "path", "content_hash", "size_bytes", "mtime")
_SHOWN = (
    "uri path verdict p_crack reason stage failure_code detail peak_x peak_y view windows "
    "crack_windows regions mm_per_px width height format size_bytes mtime content_hash taken_at "
    "gps_lat gps_lon camera"
).split()


def _label_of_place(label: str) -> Label | None:
    """What is said of a place; None: nothing any more."""
    if label not in (Label.CRACK, Label.CLEAR, ""):
        raise ValueError("a place shows a crack or none")
    return Label(label) if label else None


class PhotoError(Exception):
    """A decision that cannot be taken; the message is for the reviewer."""


class Session:
    """Answers what the page asks for; every method may be called from any thread.

    Rows are numbered within one `generation`: when a scan changes the table, it is opened anew, and
    requests that still speak of the old numbers get StaleTableError.
    """

    def __init__(self, out: Path, store: LabelStore, moved: Moved | None = None) -> None:
        """Open the table in `out`. Raises OutputError."""
        self.out = out
        self.generation = 0
        self._store = store
        self._moved = moved
        self._lock = threading.RLock()
        self._queues_made = 0
        self._open(read_steadily(out, self._ranked))

    def close(self) -> None:
        """Let go of the table."""
        self._query.close()

    @property
    def model(self) -> str:
        """Digest of the bundle that made the table; empty for tables that do not say."""
        return self._table.facts.get(_MODEL, "")

    @property
    def scanned(self) -> Mapping[str, str]:
        """What the table says of its scan."""
        return self._table.facts

    @property
    def labelled(self) -> int:
        """Number of rows that have a label."""
        with self._lock:
            ((labelled,),) = self._query.db.execute("SELECT count(human) FROM said").fetchall()
        return int(labelled)

    @property
    def left(self) -> int:
        """Number of rows that are left to a person, as the report counts them."""
        with self._lock:
            return count_left(self._query)

    def __len__(self) -> int:
        return len(self._table)

    def start_queue(self, filters: Filters) -> JsonObject:
        """Make a new list of rows to look at, fixed from now on whatever is labelled: its name,
        `first_open` (the first place without a label), how many rows of each kind the table has,
        and the progress."""
        with self._lock:
            if not self._table.is_current():
                self._query.close()
                self._open(read_steadily(self.out, self._ranked))
            self._queues_made += 1
            name = f"{self.generation}.{self._queues_made}"
            table = f"queue_{self._queues_made}"
            make_queue(self._query, table, filters)
            ((first_open,),) = self._query.db.execute(
                f"""SELECT coalesce(min(queue.rowid) FILTER (human IS NULL), 0)
                    FROM {table} queue LEFT JOIN said USING (row)"""
            ).fetchall()
            self._queues[name] = table
            if len(self._queues) > _KEPT_QUEUES:
                self._query.db.execute(f"DROP TABLE {self._queues.popitem(last=False)[1]}")
            return {
                "queue": name,
                "generation": self.generation,
                "first_open": first_open,
                "counts": counts(self._query),
                **self._progress(name),
            }

    def page(self, queue: str, start: int, count: int) -> list[JsonObject]:
        """Return what a list shows of a queue's rows from `start` on, LONGEST_PAGE at most."""
        begin = min(max(0, start), len(self))
        with self._lock:
            found = self._query.db.execute(
                f"""SELECT ranked.row, verdict, failure_code, human, p_crack
                    FROM ranked JOIN (
                      SELECT rowid AS place, row FROM {self._queue(queue)}
                      WHERE rowid >= ? AND rowid < ?
                    ) USING (row) LEFT JOIN said USING (row) ORDER BY place""",
                [begin, begin + min(count, LONGEST_PAGE)],
            ).fetchall()
            rows = self._table.rows([row for row, *_ in found], _LISTED)
            paths = [{"path": row["path"], "note": self._standing(row)["note"]} for row in rows]
        names = ("row", "verdict", "failure_code", "label", "p_crack")
        return [
            {**path, **dict(zip(names, values, strict=True))}
            for path, values in zip(paths, found, strict=True)
        ]

    def facts(self, generation: int, row: int) -> JsonObject:
        """Return all that is shown of one row."""
        with self._lock:
            return self._for_page(self._row(generation, row))

    def path(self, generation: int, row: int) -> str:
        """Return the address at which a row's photo lies now."""
        with self._lock:
            uri: str = self._row(generation, row)["uri"]
        return self._moved.apply(uri) if self._moved else uri

    def saw(self, generation: int, row: int, picture: Picture) -> bool:
        """Remember what a reviewer is shown; return whether it is still what the scan judged."""
        mtime = None
        if picture.mtime_us is not None:
            mtime = _EPOCH + timedelta(microseconds=picture.mtime_us)
        with self._lock:
            values = self._row(generation, row)
            self._shown[row] = {
                "content_hash": picture.content_hash,
                "size_bytes": picture.size_bytes,
                "mtime": mtime,
            }
            return is_of_same_bytes(values, self._shown[row])

    def decide(self, generation: int, row: int, uri: str, label: str, queue: str) -> JsonObject:
        """Keep a decision about the photo that was shown as `row`. Raises PhotoError if nothing was
        shown or the photo is not the one that was scanned, ValueError for what is no label,
        StaleTableError, OutputError."""
        own = Label(label)
        with self._lock:
            values = self._named(generation, row, uri)
            said = self._said_of_places(values)
            if own in _NO_CRACK and Label.CRACK in said.values():
                raise PhotoError("you marked a crack in it; take that back first")
            return self._keep(values, own, said, queue)

    def decide_region(
        self, generation: int, row: int, uri: str, region: int, label: str, queue: str
    ) -> JsonObject:
        """Keep what is said of a region, the `region`-th of the row; an empty `label` takes it
        back. Raises as `decide`, and ValueError for a region that there is not."""
        own = _label_of_place(label)
        with self._lock:
            values = self._named(generation, row, uri)
            if not 0 <= region < len(found := values["regions"] or []):
                raise ValueError("the photo has no such region")
            return self._say_of_place(values, box_of(found[region]), own, queue)

    def mark(
        self,
        generation: int,
        row: int,
        uri: str,
        x: int,
        y: int,
        width: int,
        height: int,
        label: str,
        queue: str,
    ) -> JsonObject:
        """Keep a place in the photo, a box or a point without width and height, in pixels of the
        upright photo; an empty `label` forgets it. Raises as `decide`, and ValueError for a box
        that does not lie in the photo."""
        own = _label_of_place(label)
        with self._lock:
            values = self._named(generation, row, uri)
            inside = x + width <= (values["width"] or 0) and y + height <= (values["height"] or 0)
            full = own and len(self._said_of_places(values)) >= MOST_PLACES
            if min(x, y, width, height) < 0 or not inside or full:
                raise ValueError("the place does not lie in the photo, or it has too many marks")
            return self._say_of_place(values, (x, y, width, height), own, queue)

    def note(self, generation: int, row: int, uri: str, note: str, queue: str) -> JsonObject:
        """Keep a note, whether the photo was shown or not; an empty one is none."""
        with self._lock:
            values = self._named(generation, row, uri)
            if len(note) > LONGEST_NOTE:
                raise ValueError(f"a note has at most {LONGEST_NOTE:,} letters")
            said, own = self._said_of_places(values), self._label(row)
            return self._keep(values, own, said, queue, seen_as=Label.UNSURE, note=note.strip())

    def _say_of_place(
        self, values: JsonObject, box: Box, label: Label | None, queue: str
    ) -> JsonObject:
        own = self._label(values["row"])
        if label is Label.CRACK and own in _NO_CRACK:
            raise PhotoError("you said that the photo shows no crack; change that first")
        said = self._said_of_places(values)
        said.pop(box, None)
        if label is not None:
            said[box] = label
        return self._keep(values, own, said, queue, seen_as=Label.CRACK)

    def _keep(
        self,
        values: JsonObject,
        label: Label | None,
        regions: dict[Box, Label],
        queue: str,
        *,
        seen_as: Label | None = None,
        note: str | None = None,
    ) -> JsonObject:
        """Add a decision, and return the row and the progress in `queue`. `seen_as`: the label for
        which the photo must have been seen, if not its own; `note` None: the one that stands."""
        seen = self._seen(values, seen_as or label)
        note = (self._standing(values)["note"] if note is None else note) or None
        self._store.add(
            Decision(
                uri=values["uri"],
                label=label,
                content_hash=seen["content_hash"],
                size_bytes=seen["size_bytes"],
                mtime=seen["mtime"],
                verdict=values["verdict"],
                p_crack=values["p_crack"],
                model=self.model or None,
                regions=tuple(RegionLabel(*box, said) for box, said in regions.items()),
                note=note,
            )
        )
        self._set_label(values["row"], values["uri"], label)
        return {"row": self._for_page(values), **self._progress(queue)}

    def _standing(self, values: JsonObject) -> JsonObject:
        """Return what stands of a row's photo: `label`, `regions`, `note`."""
        last = self._store.last(values["uri"])
        if last is None or not is_of_same_bytes(values, last):
            return {"label": None, "regions": None, "note": None}
        return last

    def _said_of_places(self, values: JsonObject) -> dict[Box, Label]:
        """Return what stands of the regions and marks of a row's photo, by their boxes."""
        return {box_of(r): Label(r["label"]) for r in self._standing(values)["regions"] or []}

    def undo(self, queue: str) -> JsonObject:
        """Take back this reviewer's newest decision: `row`, that photo's row, or None; `at`, its
        place in the queue, if it is in there; `gone` if the table has no such row. Raises
        StaleTableError where a scan has changed the table, and nothing was taken back."""
        with self._lock:
            if not self._table.is_current():
                raise StaleTableError("undo")
            undone = self._store.undo()
            if undone is None:
                return {"row": None, "at": None, **self._progress(queue)}
            uri = undone["uri"]
            known = "SELECT row FROM said WHERE uri = ?"
            found = self._query.db.execute(known, [uri]).fetchall()
            if not found:
                return {"row": None, "at": None, "gone": True, **self._progress(queue)}
            row = int(found[0][0])
            values = self._row(self.generation, row)
            stands = self._standing(values)
            self._set_label(row, uri, stands["label"])
            places = []
            if queue in self._queues:
                at = f"SELECT rowid FROM {self._queues[queue]} WHERE row = ?"
                places = self._query.db.execute(at, [row]).fetchall()
            return {
                "row": self._for_page(values),
                "at": places[0][0] if places else None,
                **self._progress(queue),
            }

    def _open(self, query: Query) -> None:
        self._query = query
        self._table = query.table
        self._rows: OrderedDict[int, JsonObject] = OrderedDict()
        self._shown: dict[int, JsonObject] = {}
        self._queues: OrderedDict[str, str] = OrderedDict()
        """Tables of the lists, by the names that the page knows."""
        self.generation += 1

    def _ranked(self, table: Table) -> Query:
        query = Query(table, self._store.table, memory=MEMORY)
        rank(query)
        return query

    def _queue(self, name: str) -> str:
        if name not in self._queues:
            raise StaleTableError(f"list {name}")
        self._queues.move_to_end(name)
        return self._queues[name]

    def _row(self, generation: int, row: int) -> JsonObject:
        if generation != self.generation or not 0 <= row < len(self):
            raise StaleTableError(f"row {row}")
        if row in self._rows:
            self._table.check(row)
            return self._rows[row]
        (self._rows[row],) = self._table.rows([row], _SHOWN)
        if len(self._rows) > _KEPT_ROWS:
            self._rows.popitem(last=False)
        return self._rows[row]

    def _named(self, generation: int, row: int, uri: str) -> JsonObject:
        values = self._row(generation, row)
        if values["uri"] != uri:
            raise StaleTableError(uri)
        return values

    def _seen(self, values: JsonObject, label: Label | None) -> JsonObject:
        """Return the bytes that a label is about; an `unsure` is about the row, shown or not."""
        if label is Label.UNSURE:
            return values
        shown = self._shown.get(values["row"])
        if shown is None:
            raise PhotoError("the photo has not been shown; only what was seen can be labelled")
        if not is_of_same_bytes(values, shown):
            raise PhotoError("the file has changed since the scan; scan again, then label it")
        return shown

    def _set_label(self, row: int, uri: str, label: str | None) -> None:
        self._query.db.execute("DELETE FROM said WHERE row = ?", [row])
        self._query.db.execute(_SAY, [row, uri, label])

    def _progress(self, queue: str) -> JsonObject:
        rows = labelled = 0
        if queue in self._queues:
            table = f"{self._queues[queue]} LEFT JOIN said USING (row)"
            both = f"SELECT count(*), count(human) FROM {table}"
            ((rows, labelled),) = self._query.db.execute(both).fetchall()
        return {
            "rows": len(self),
            "labelled": self.labelled,
            "in_queue": rows,
            "labelled_in_queue": labelled,
        }

    def _for_page(self, values: JsonObject) -> JsonObject:
        fit = {
            name: value.isoformat() if isinstance(value, datetime) else value
            for name, value in values.items()
        }
        said = self._said_of_places(values)
        if found := values["regions"]:
            fit["regions"] = [{**each, "human": said.pop(box_of(each), None)} for each in found]
        fit["marks"] = [{**dict(zip(SIDES, box, strict=True)), "human": said[box]} for box in said]
        return {**fit, "label": self._label(values["row"]), "note": self._standing(values)["note"]}

    def _label(self, row: int) -> Label | None:
        found = self._query.db.execute("SELECT human FROM said WHERE row = ?", [row]).fetchone()
        return Label(found[0]) if found and found[0] else None
