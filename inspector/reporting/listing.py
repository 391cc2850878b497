"""All cracks of a table, and all photos that are left to a person, in columns for the page: what
it sorts, filters and draws itself."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from markupsafe import Markup

from inspector.core.text import printable
from inspector.photos.address import text_of
from inspector.reporting.counting import ordered
from inspector.results.reader import ROW
from inspector.types import Verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from inspector.reporting.lists import Links
    from inspector.results.query import Query

MOST_LISTED = 20_000
"""Photos of an outcome in a page, likeliest first; some 100 bytes each."""
MOST_REGIONS = 50
"""Of a photo, those likeliest to be a crack."""
LISTED = (str(Verdict.CRACK), str(Verdict.REVIEW))
_COLUMNS = """uri verdict p_crack reason failure_code peak_x peak_y regions width height mm_per_px
              taken_at gps_lat gps_lon""".split()
_BOX = ("x", "y", "width", "height")
_SIZES = ("length_at_least", "length_at_most")
_PLAIN = re.compile(r"[\w.()@,=-]+", re.ASCII)
"""A name that is the same as text, in an address and in a link."""


_AT_ONCE = 2_000
"""Photos of which text is made at once."""


@dataclass(slots=True)
class Listing:
    """Photos in columns, in the order in which a page shows them first. Numbers are whole:
    thousandths of probabilities (-1: none) and of sides, millionths of degrees, seconds; 0 stands
    for no time, no place (both are 0), no size. `regions` has seven numbers for each: box,
    thousandths, length at least and at most; null for a photo that was judged whole."""

    total: int
    """Photos of the outcome, also those that are not listed."""
    words: list[str] = field(default_factory=list)
    """What `model`, `human` and `reason` number; the first is empty."""
    folders: list[str] = field(default_factory=list)
    links: list[str] = field(default_factory=list)
    """To these folders, empty where none leads there."""
    tails: dict[int, str] = field(default_factory=dict)
    """Ends of the links to photos, where they differ from the names."""
    files: list[str] = field(default_factory=list)
    columns: dict[str, NDArray[Any]] = field(default_factory=dict)
    """Numbers of each photo (N,)."""
    region_R7: NDArray[np.int32] = field(default_factory=lambda: np.empty((0, 7), np.int32))
    first_N: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    """Of a photo's regions, the place of the first; -1 for a photo that was judged whole."""
    count_N: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))

    def __len__(self) -> int:
        return len(self.files)

    def to_script(self, pictures: Mapping[int, str], unseen: Mapping[int, str]) -> Iterator[Markup]:
        """Yield it as JSON that may stand in a script element, with pictures of some photos as
        `data:` addresses, and why others have none."""
        about = {name: getattr(self, name) for name in ("words", "folders", "links", "tails")}
        yield _safe(_dumped({**about, "pictures": pictures, "unseen": unseen})[:-1])
        columns: dict[str, Callable[[slice], list[Any]]] = {
            name: partial(_of_part, values) for name, values in self.columns.items()
        }
        columns |= {"file": lambda part: self.files[part], "regions": self._regions}
        for name, values_of in columns.items():
            yield Markup(f',"{name}":[')
            for begin in range(0, len(self), _AT_ONCE):
                text = _dumped(values_of(slice(begin, begin + _AT_ONCE)))
                yield _safe(("," if begin else "") + text[1:-1])
            yield Markup("]")
        yield Markup("}")

    def _regions(self, part: slice) -> list[list[int] | None]:
        firsts, counts = self.first_N[part].tolist(), self.count_N[part].tolist()
        return [
            None if first < 0 else self.region_R7[first : first + count].ravel().tolist()
            for first, count in zip(firsts, counts, strict=True)
        ]


def _dumped(values: Any) -> str:
    return json.dumps(values, separators=(",", ":"))


def _safe(text: str) -> Markup:
    """JSON in which nothing ends a script element."""
    return Markup(text.replace("<", "\\u003c"))


def list_photos(query: Query, links: Links, root: str) -> dict[str, Listing]:
    """List the photos that `choose_shown` has put into order, by outcome; folders are named below
    `root`. Raises as `Query.ask`."""
    orders, builders, said = {}, {}, query.said()
    kind_N = np.zeros(len(query.table), np.uint8)
    for number, outcome in enumerate(LISTED, 1):
        orders[outcome] = ordered(query, outcome, MOST_LISTED)
        kind_N[orders[outcome]] = number
        builders[outcome] = _Builder(links, root, said)
    for batch in query.table.batches(_COLUMNS, query.progress):
        begin = batch.column(ROW)[0].as_py() if batch.num_rows else 0
        kinds = kind_N[begin : begin + batch.num_rows]
        for number, outcome in enumerate(LISTED, 1):
            if len(chosen := np.flatnonzero(kinds == number)):
                # (`pa.array` would load pandas, if it is installed: 40 MB.)
                places = [None, pa.py_buffer(chosen.astype(np.int64))]
                numbers = pa.Array.from_buffers(pa.int64(), len(chosen), places)
                builders[outcome].add(batch.take(numbers))
    counts = dict(query.db.execute("SELECT after, count(*) FROM listed GROUP BY after").fetchall())
    return {
        outcome: builders[outcome].finish(orders[outcome], counts.get(outcome, 0))
        for outcome in LISTED
    }


class _Builder:
    """Makes a listing of the table's rows."""

    def __init__(self, links: Links, root: str, said: Mapping[int, tuple[Any, Any]]) -> None:
        self._links, self._root, self._said = links, root, said
        self._to = Listing(0)
        self._folders: dict[str, int] = {}
        self._words: dict[str | None, int] = {None: 0}
        self._columns: dict[str, list[NDArray[Any]]] = {}

    def add(self, batch: pa.RecordBatch) -> None:
        row_N = _values(batch.column(ROW), pa.int64(), 0)
        said = [self._said.get(row, (None, None)) for row in row_N.tolist()]
        sizes = {name: _whole(batch, name, 1, 0) for name in ("width", "height")}
        reason = pc.coalesce(batch.column("reason"), batch.column("failure_code"))
        values = {
            ROW: row_N,
            "folder": self._name(batch.column("uri").to_pylist()),
            "p": _whole(batch, "p_crack", 1000, -1),
            "x": _whole(batch, "peak_x", 1000, -1),
            "y": _whole(batch, "peak_y", 1000, -1),
            **sizes,
            "scale": np.nan_to_num(_values(batch.column("mm_per_px"), pa.float64(), 0)).round(4),
            "taken": _values(batch.column("taken_at"), pa.int64(), 0) // 1_000_000,
            "lat": _whole(batch, "gps_lat", 1e6, 0),
            "lon": _whole(batch, "gps_lon", 1e6, 0),
            "model": self._numbered(batch.column("verdict")),
            "reason": self._numbered(reason),
            "human": np.array([self._word(human) for human, _ in said], np.int16),
            **_regions(batch.column("regions"), [rejected for _, rejected in said]),
        }
        for name, some in values.items():
            self._columns.setdefault(name, []).append(some)

    def _name(self, uris: Sequence[str]) -> NDArray[np.int32]:
        """Take over names and links, and return the numbers of the folders."""
        to, folders = self._to, []
        for uri in uris:
            folder, _, name = uri.rpartition("/")
            known = folder in self._folders
            if not known:
                self._folders[folder] = len(self._folders)
                below = f"{text_of(folder)}/".removeprefix(f"{self._root.rstrip('/')}/")
                to.folders.append(printable(below).rstrip("/"))
            plain = _PLAIN.fullmatch(name) is not None
            if not known or not plain or self._links.moved:
                to_folder, _, tail = self._links.photo(uri).rpartition("/")
                if not known:
                    to.links.append(to_folder)
                if tail != name:
                    to.tails[len(to.files)] = tail
            folders.append(self._folders[folder])
            to.files.append(name if plain else printable(text_of(name)))
        return np.array(folders, np.int32)

    def _word(self, word: str | None) -> int:
        return self._words.setdefault(word, len(self._words))

    def _numbered(self, column: Any) -> NDArray[np.int16]:
        """The numbers of words."""
        words = column.dictionary_encode()
        numbers = [self._word(word) for word in words.dictionary.to_pylist()]
        at_N = _values(words.indices, pa.int32(), len(numbers))
        numbers_N: NDArray[np.int16] = np.array([*numbers, 0], np.int16)[at_N]
        return numbers_N

    def finish(self, order: NDArray[np.int64], total: int) -> Listing:
        """Bring the photos, so far in the order of the table, into that of their rows `order`."""
        to = self._to
        to.total = total
        if not len(order):
            return to
        region_R7 = np.concatenate(self._columns.pop("region_R7"))
        columns = {name: np.concatenate(some) for name, some in self._columns.items()}
        place_N = np.searchsorted(columns.pop(ROW), order)
        count_N = columns.pop("count")
        first_N = np.where(count_N < 0, -1, np.cumsum(np.maximum(count_N, 0)) - count_N)
        to.region_R7, to.first_N, to.count_N = region_R7, first_N[place_N], count_N[place_N]
        to.columns = {name: values_N[place_N] for name, values_N in columns.items()}
        places = place_N.tolist()
        to.files = [to.files[place] for place in places]
        to.tails = {at: to.tails[place] for at, place in enumerate(places) if place in to.tails}
        to.words = [printable(word or "") for word in self._words]
        return to


def _of_part(values: NDArray[Any], part: slice) -> list[Any]:
    return list(values[part].tolist())


def _values(column: Any, kind: pa.DataType, missing: float) -> NDArray[Any]:
    """A column of numbers. (`to_numpy` would load pandas, if it is installed: 40 MB.)"""
    column = column.cast(kind)
    valid, data = column.buffers()
    own = slice(column.offset, column.offset + len(column))
    values_N: NDArray[Any] = np.frombuffer(data, np.dtype(str(kind).replace("double", "float64")))
    values_N = values_N[own]
    if not column.null_count:
        return values_N
    bits = np.unpackbits(np.frombuffer(valid, np.uint8), bitorder="little")[own]
    return np.where(bits, values_N, values_N.dtype.type(missing))


def _whole(batch: pa.RecordBatch, name: str, steps: float, missing: int) -> NDArray[np.int32]:
    values_N = np.round(steps * _values(batch.column(name), pa.float64(), np.nan))
    return np.where(np.isfinite(values_N), values_N, missing).astype(np.int32)


def _regions(column: Any, rejected: Sequence[Any]) -> dict[str, NDArray[Any]]:
    """How many regions each photo has (`count`, -1 if judged whole), and all of them."""
    count_N = _values(pc.list_value_length(column), pa.int64(), -1)
    flat = column.flatten()
    names = (*_BOX, "p_crack", *_SIZES)
    steps = np.array([1, 1, 1, 1, 1000, 1, 1])
    numbers = [_values(flat.field(name), pa.float64(), 0) for name in names]
    region_R7 = (np.stack(numbers, 1) * steps).round().astype(np.int32)
    owner_R = np.repeat(np.arange(len(count_N)), np.maximum(count_N, 0))
    begin_R = np.repeat(np.cumsum(np.maximum(count_N, 0)) - count_N, np.maximum(count_N, 0))
    kept_R = np.arange(len(owner_R)) - begin_R < MOST_REGIONS
    for owner in {k for k, gone in enumerate(rejected) if gone} & set(owner_R.tolist()):
        boxes = {tuple(box[side] for side in _BOX) for box in rejected[owner]}
        for at in np.flatnonzero(owner_R == owner):
            kept_R[at] &= tuple(region_R7[at, :4].tolist()) not in boxes
    left_N = np.bincount(owner_R[kept_R], minlength=len(count_N))
    return {"count": np.where(count_N < 0, -1, left_N), "region_R7": region_R7[kept_R]}
