"""Count a table in SQL: verdicts, folders, times, places, failures, and the rows worth showing."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

import numpy as np

from inspector.core.text import calendar_time
from inspector.photos.address import SLASHES, text_of
from inspector.results.query import FAILED, OPPOSITE
from inspector.types import Verdict, View

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from inspector.results.query import Query
    from inspector.types import JsonObject

OUTCOMES = (str(Verdict.CRACK), str(Verdict.REVIEW), str(Verdict.CLEAR), FAILED)
"""Outcomes of a file, the most pressing first."""
PASSES = 6
"""Readings of the rows, each of only the columns that one question needs."""
MOST_FOLDERS = 40
"""Folders listed at each level; the others are added up in one row."""
MOST_PERIODS = 48
"""Rows of the table over time: the finest periods of which there are no more."""
MOST_PLACES = 1_500
"""Squares on the map: the finest of which there are no more."""
MOST_DIFFERING = 24
"""Photos shown of which a person says the opposite of the model."""
FAILURES_LISTED = 20
"""Failed files listed for each code."""

PERIODS = {"hour": 13, "day": 10, "month": 7, "year": 4}
"""Lengths of time, from fine to coarse, with the letters of an ISO time that name one."""
PER_DEGREE = 100_000
"""Steps in which places are told apart: a metre or less."""
SIDES = tuple(1 << power for power in range(18))
"""Sides of squares, in these steps: from a metre to more than a hundred kilometres."""
SHOWN = (
    "uri path verdict p_crack reason failure_code peak_x peak_y view regions width height "
    "mm_per_px content_hash taken_at gps_lat gps_lon camera"
).split()
"""Columns of a photo on the page."""
IN_ORDER = "confirmed DESC, round(p, 2) DESC, longest DESC, p DESC, row"
"""Order of `listed`: what a person calls crack, then by probability in hundredths, by length."""
_DIFFERS = f"(human, model) IN {OPPOSITE}"
_RUN = ("tool_version", "backend", "device", "providers", "stages")
_COUNT = "count(*) AS photos, count(*) FILTER (model = 'crack') AS model_crack, " + ", ".join(
    f"count(*) FILTER (after = '{outcome}') AS \"{outcome}\"" for outcome in OUTCOMES
)


@dataclass(frozen=True, slots=True)
class Group:
    """Photos that have something in common: how many, and how many of them are what after people
    had their say; `model_crack` before."""

    name: str
    photos: int
    model_crack: int
    crack: int
    review: int
    clear: int
    failed: int


_NAMES = [field.name for field in fields(Group)][1:]
_SUM = ", ".join(f"coalesce(sum({name}), 0)::BIGINT AS {name}" for name in _NAMES)


@dataclass(frozen=True, slots=True)
class Folders:
    """Photos by folder at one level below the root, those with the most cracks first. `others` adds
    up those that are not listed, of which there are `unlisted`."""

    level: int
    listed: tuple[Group, ...]
    others: Group | None
    unlisted: int


Places = tuple[tuple[float, float, Group], ...]
"""Degrees north and east of the middle of a square, and its photos; the most cracks first."""


def count_kinds(query: Query, min_crack_mm: float | None) -> Group:
    """Create `kinds`, the photos by what the model and people said, by reason and failure, with how
    many of them cannot show the crack width asked for, if one is, and when the first and the last
    of them were judged; return all photos."""
    query.create(
        "kinds",
        ["reason", "failure_code", "size_bytes", "smallest_visible_mm", "view", "judged_at"],
        f"""SELECT model, human, reason, failure_code, {_COUNT}, sum(size_bytes) AS size_bytes,
              min(row, {FAILURES_LISTED}) AS first_rows,
              min(judged_at) AS first_judged, max(judged_at) AS last_judged,
              count(*) FILTER (smallest_visible_mm > ?::FLOAT) AS coarse,
              count(*) FILTER (smallest_visible_mm IS NULL AND model <> '{FAILED}')
                AS unknown_scale,
              count(*) FILTER (view <> '{View.WHOLE}') AS own_scale
            FROM photos GROUP BY model, human, reason, failure_code""",
        min_crack_mm,
    )
    (counts,) = query.db.execute(f"SELECT {_SUM} FROM kinds").fetchall()
    return Group("all", *counts)


def judged_between(query: Query) -> list[datetime]:
    """Return when the first and the last of `kinds` were judged (UTC); nothing where none was, or
    not at a time that a calendar has."""
    some = "SELECT epoch_us(min(first_judged)), epoch_us(max(last_judged)) FROM kinds"
    moments = map(calendar_time, query.db.execute(some).fetchall()[0])
    known = [moment for moment in moments if moment is not None]
    return known if len(known) > 1 else []


def sum_of(query: Query, name: str) -> int:
    """Add up a column of `kinds`."""
    ((found,),) = query.db.execute(f"SELECT coalesce(sum({name}), 0)::BIGINT FROM kinds").fetchall()
    return int(found)


def photos_by(query: Query, name: str) -> dict[str, int]:
    """Count the photos by a column of `kinds`, most first, without those where it is null."""
    return dict(
        query.db.execute(
            f"""SELECT {name}, sum(photos)::BIGINT FROM kinds WHERE {name} IS NOT NULL
                GROUP BY {name} ORDER BY sum(photos) DESC, {name}"""
        ).fetchall()
    )


def list_failed(query: Query) -> dict[str, Sequence[JsonObject]]:
    """Read the first failed rows of each code."""
    found = query.db.execute(
        f"""SELECT failure_code, list_sort(flatten(list(first_rows)))[:{FAILURES_LISTED}]
            FROM kinds WHERE failure_code IS NOT NULL
            GROUP BY failure_code ORDER BY sum(photos) DESC, failure_code"""
    ).fetchall()
    columns = ["path", "failure_code", "detail"]
    return {code: query.rows(numbers, columns) for code, numbers in found}


def count_folders(query: Query) -> tuple[str, tuple[Folders, ...]]:
    """Return the folder that holds all photos, and the levels below it that tell more."""
    query.create(
        "folders",
        ["uri"],
        f"""SELECT left(uri, length(uri) - strpos(reverse(uri), '/') + 1) AS folder, {_COUNT}
            FROM photos GROUP BY folder""",
    )
    ((first, last),) = query.db.execute("SELECT min(folder), max(folder) FROM folders").fetchall()
    if first is None:
        return "", ()
    root = common_folder(first, last)
    tables: list[Folders] = []
    seen = 1
    for level in (1, 2):
        folders = _count_level(query, root, level)
        number = len(folders.listed) + folders.unlisted
        if number > seen:
            seen = number
            tables.append(folders)
    return text_of(root).rstrip(SLASHES) or "/", tuple(tables)


def common_folder(first: str, last: str) -> str:
    """Return the folder, with its slash, that holds all addresses whose first and last in order are
    these: what the two share, all share."""
    same = next((k for k, pair in enumerate(zip(first, last, strict=False)) if len({*pair}) > 1),
                min(len(first), len(last)))  # fmt: skip
    return first[: first.rfind("/", 0, same) + 1]


def _count_level(query: Query, root: str, level: int) -> Folders:
    below = f"string_split(substr(folder, {len(root) + 1}), '/')[1:{level}]"
    level_sql = f"""SELECT rtrim(array_to_string({below}, '/'), '/') AS name, {_SUM}
                    FROM folders GROUP BY name"""
    ((number,),) = query.db.execute(f"SELECT count(*) FROM ({level_sql})").fetchall()
    # A last row that stands for a single folder would hide its name for nothing.
    most = number if number <= MOST_FOLDERS + 1 else MOST_FOLDERS
    order = "ORDER BY crack DESC, review DESC, name"
    found = query.db.execute(f"{level_sql} {order} LIMIT {most}").fetchall()
    listed = tuple(Group(text_of(name) or "(directly in it)", *counts) for name, *counts in found)
    others = None
    if number > most:
        rest = f"SELECT {_SUM} FROM ({level_sql} {order} OFFSET {most})"
        (counts,) = query.db.execute(rest).fetchall()
        others = Group(f"{number - most:,} other folders", *counts)
    return Folders(level, listed, others, number - most)


def count_periods(query: Query) -> tuple[str, tuple[Group, ...]]:
    """Return `hour`, `day`, `month` or `year`, and the photos of each in order of time."""
    query.create(
        "hours",
        ["taken_at"],
        f"""SELECT date_trunc('hour', taken_at) AS hour, {_COUNT}
            FROM photos WHERE taken_at IS NOT NULL GROUP BY hour""",
    )
    numbers = ", ".join(f"count(DISTINCT date_trunc('{name}', hour))" for name in PERIODS)
    (found,) = query.db.execute(f"SELECT {numbers} FROM hours").fetchall()
    if not found[0]:
        return "", ()
    by_name = dict(zip(PERIODS, found, strict=True))
    period = next((name for name, number in by_name.items() if number <= MOST_PERIODS), "year")
    groups = query.db.execute(
        f"""SELECT replace(left(hour::VARCHAR, {PERIODS[period]}), ' ', 'T') AS name, {_SUM}
            FROM hours GROUP BY name ORDER BY name"""
    ).fetchall()
    return period, tuple(Group(*values) for values in groups)


def count_places(query: Query, least_side: int) -> tuple[Places, int, Places]:
    """Return the photos by squares as small as there is room for, the side of these squares in
    steps of a degree, and the same for squares of at least `least_side`."""
    query.create(
        "squares",
        ["gps_lat", "gps_lon"],
        f"""SELECT round(gps_lat * {PER_DEGREE})::BIGINT AS south,
              round(gps_lon * {PER_DEGREE})::BIGINT AS west, {_COUNT}
            FROM photos WHERE isfinite(gps_lat) AND isfinite(gps_lon) GROUP BY south, west""",
    )
    for side in SIDES:
        number = f"SELECT count(*) FROM ({_squares_of(side)})"
        if query.db.execute(number).fetchall()[0][0] <= MOST_PLACES:
            break
    found = _places(query, side), side, _places(query, max(least_side, side))
    query.db.execute("DROP TABLE squares")
    return found


def _squares_of(side: int) -> str:
    corner = ", ".join(
        f"(floor({name} / {side}) * {side})::BIGINT AS {name}" for name in ("south", "west")
    )
    return f"SELECT {corner}, {_SUM} FROM squares GROUP BY ALL"


def _places(query: Query, side: int) -> Places:
    order = "ORDER BY crack DESC, photos DESC, south, west"
    middle = (side - 1) / 2
    return tuple(
        ((south + middle) / PER_DEGREE, (west + middle) / PER_DEGREE, Group("", *counts))
        for south, west, *counts in query.db.execute(f"{_squares_of(side)} {order}").fetchall()
    )


def count_copies(query: Query) -> int:
    """Count the files that hold the bytes of another one, by 64 bits of a hash of their SHA-256:
    among 20 million different files, two share them by chance with probability 1e-5."""
    hash_N, count = np.empty(len(query.table), np.int64), 0
    for batch in query.table.batches(["content_hash"], query.progress):
        known = list(filter(None, batch.column("content_hash").to_pylist()))
        hash_N[count : count + len(known)] = list(map(hash, known))
        count += len(known)
    hash_N = hash_N[:count]
    hash_N.sort()
    return int((hash_N[1:] == hash_N[:-1]).sum())


def choose_shown(query: Query, pictures: int) -> tuple[Sequence[JsonObject], ...]:
    """Create `listed`, the cracks and the photos that are left to a person, and return the rows of
    both that are shown as pictures, together at most `pictures`, cracks first; and rows of which a
    person says the opposite of the model, missed cracks first."""
    query.create(
        "listed",
        ["p_crack", "regions"],
        f"""SELECT row, after, human IS NOT DISTINCT FROM 'crack' AS confirmed,
              coalesce({_DIFFERS}, false) AS differs, coalesce(p_crack, -1) AS p,
              coalesce(list_max([r.length_at_most FOR r IN regions]), 0) AS longest
            FROM photos WHERE after IN ('crack', 'review') OR {_DIFFERS}""",
    )

    def first(which: str, order: str, most: int) -> Sequence[JsonObject]:
        some = f"SELECT row FROM listed WHERE {which} ORDER BY {order} LIMIT {most}"
        return query.rows([row for (row,) in query.db.execute(some).fetchall()], SHOWN)

    cracks = first("after = 'crack'", IN_ORDER, pictures)
    review = first("after = 'review'", IN_ORDER, pictures - len(cracks))
    differing = first("differs", "after = 'clear', p, row", min(pictures, MOST_DIFFERING))
    return cracks, review, differing


def run_facts(query: Query) -> list[dict[str, str]]:
    """Return what made the rows, that of the most rows first: how many, and what its parts say."""
    runs: Counter[tuple[str, ...]] = Counter()
    for part in query.table.parts:
        runs[tuple(part.facts.get(name, "") for name in _RUN)] += part.streamed
    return [
        {"rows": str(rows), **dict(zip(_RUN, values, strict=True))}
        for values, rows in runs.most_common()
        if rows
    ]
