"""All cracks of a table, and all photos that are left to a person, in columns for the page: what
it sorts, filters and draws itself."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from markupsafe import Markup

from inspector.core.text import printable
from inspector.photos.address import SLASHES, text_of
from inspector.reporting.counting import IN_ORDER
from inspector.types import Verdict

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from inspector.reporting.lists import Links
    from inspector.results.query import Query

MOST_LISTED = 20_000
"""Photos of an outcome in a page, likeliest first; some 100 bytes each."""
MOST_REGIONS = 50
"""Of a photo, those likeliest to be a crack."""
LISTED = (str(Verdict.CRACK), str(Verdict.REVIEW))
_READ = """uri reason failure_code p_crack peak_x peak_y regions width height mm_per_px taken_at
           gps_lat gps_lon""".split()


def _whole(sql: str, missing: int = 0) -> str:
    return f"coalesce(TRY_CAST(round({sql}) AS BIGINT), {missing})"


_NUMBERS = {
    "p": _whole("1000 * p_crack::DOUBLE", -1),
    "x": _whole("1000 * peak_x::DOUBLE", -1),
    "y": _whole("1000 * peak_y::DOUBLE", -1),
    "width": _whole("width"),
    "height": _whole("height"),
    "scale": "if(isfinite(mm_per_px), round(mm_per_px::DOUBLE, 4), 0)",
    "taken": _whole("floor(epoch(taken_at))"),
    "lat": _whole("1e6 * gps_lat"),
    "lon": _whole("1e6 * gps_lon"),
    "regions": f"""flatten([[r.x, r.y, r.width, r.height, {_whole("1000 * r.p_crack::DOUBLE", -1)},
      {_whole("r.length_at_least")}, {_whole("r.length_at_most")}]
      FOR r IN regions[:{MOST_REGIONS}]])""",
}
"""Columns of the page: thousandths of probabilities (-1: none) and of sides, millionths of degrees,
seconds; 0 stands for no time, no place (both are 0), no size. `regions` has seven numbers for each:
box, thousandths (-1: a person's mark, without length), length at least and at most; null for a
photo that was judged whole."""
_WORDS = {"model": "verdict", "reason": "coalesce(reason, failure_code)", "human": "human"}
"""Columns of words, which the page has as numbers."""
_PLAIN = re.compile(r"[\w.()@,=-]+", re.ASCII)
"""A name that is the same as text, in an address and in a link."""


@dataclass(frozen=True, slots=True)
class Listing:
    """The first `listed` of `total` photos of an outcome: the pieces of an unfinished object."""

    total: int
    listed: int
    pieces: list[str]

    def to_script(self, pictures: Mapping[int, str], unseen: Mapping[int, str]) -> Iterator[Markup]:
        """Yield it as JSON that may stand in a script element, with pictures of some photos as
        `data:` addresses, and why others have none."""
        end = f',"pictures":{_dumped(pictures)},"unseen":{_dumped(unseen)}}}'
        for piece in (*self.pieces, end):
            yield Markup(piece.replace("<", "\\u003c"))


def list_photos(query: Query, links: Links, root: str) -> dict[str, Listing]:
    """List by outcome the photos of `listed`, which `choose_shown` has made and this drops; folders
    are named below `root`. Raises as `Query.ask`."""
    query.db.execute("CREATE OR REPLACE TABLE first (row BIGINT)")
    for word in LISTED:
        some = f"FROM listed WHERE after = '{word}' ORDER BY {IN_ORDER} LIMIT {MOST_LISTED}"
        query.db.execute(f"INSERT INTO first SELECT row {some}")
    counts = dict(query.db.execute("SELECT after, count(*) FROM listed GROUP BY after").fetchall())
    query.db.execute("DROP TABLE listed")  # to make room
    values = ", ".join(f"{sql} AS {name}" for name, sql in {**_NUMBERS, **_WORDS}.items())
    query.create(
        "shown",
        _READ,
        f"""SELECT after, place, uri, note, {values} FROM photos
            JOIN (SELECT row, rowid AS place FROM first) USING (row)""",
    )
    return {word: _list(query, word, counts.get(word, 0), links, root) for word in LISTED}


def _list(query: Query, outcome: str, total: int, links: Links, root: str) -> Listing:
    def values(sql: str) -> Iterator[Any]:
        some = f"SELECT {sql} FROM shown WHERE after = ? ORDER BY place"
        answer = query.db.execute(some, [outcome])
        while found := answer.fetchone():
            yield found[0]

    names, words = _names(values("uri"), links, root), {"": 0}
    for name in _WORDS:
        names[name] = [words.setdefault(word or "", len(words)) for word in values(name)]
    names["notes"] = {at: printable(note) for at, note in enumerate(values("note")) if note}
    pieces = [_dumped({**names, "words": list(map(printable, words))})[:-1]]
    for name in _NUMBERS:
        numbers = ",".join(values(f"coalesce(to_json({name})::VARCHAR, 'null')"))
        pieces.append(f',"{name}":[{numbers}]')
    return Listing(total, len(names["file"]), pieces)


def _names(uris: Iterable[str], links: Links, root: str) -> dict[str, Any]:
    """Folders and the links to them (empty where none leads there), each photo's folder and name,
    and by their places the ends of links that are not what the page makes of the names."""
    numbers: dict[str, int] = {}
    found: dict[str, Any] = {"folders": [], "links": [], "tails": {}, "folder": [], "file": []}
    for place, uri in enumerate(uris):
        folder, _, name = uri.rpartition("/")
        plain = _PLAIN.fullmatch(name) is not None
        text = name if plain else printable(text_of(name))
        new = folder not in numbers
        if new or not plain or links.moved:
            to_folder, _, tail = links.photo(uri).rpartition("/")
            if tail != (name if plain else quote(text, safe="!'()*")):
                found["tails"][place] = tail
            if new:
                numbers[folder] = len(numbers)
                below = text_of(folder).removeprefix(root.rstrip(SLASHES)).strip(SLASHES)
                found["folders"].append(printable(below))
                found["links"].append(to_folder)
        found["folder"].append(numbers[folder])
        found["file"].append(text)
    return found


def _dumped(values: Any) -> str:
    return json.dumps(values, separators=(",", ":"))
