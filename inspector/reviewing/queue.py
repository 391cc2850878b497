"""Lists of rows for a reviewer, in SQL: filters, the order of looking, and counts of each kind.

The table `ranked` has a few bytes per row, those most worth a look first; names and facts are read
from the parts when they are shown.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

from inspector.errors import UsageError
from inspector.results.labels import Label
from inspector.results.query import FAILED, OPPOSITE
from inspector.types import FailureCode, Reason, Verdict

if TYPE_CHECKING:
    from collections.abc import Mapping

    from inspector.results.query import Query

WORDS = {
    "verdict": tuple(map(str, Verdict)),
    "reason": tuple(map(str, Reason)),
    "failure_code": tuple(map(str, FailureCode)),
}
LABELS = tuple(map(str, Label))
OPEN, LABELLED, DIFFERS = "open", "labelled", "differs"
"""Filters beside the labels: not labelled yet, labelled at all, against the model's verdict."""
MISS_COST = 50
"""Cost of a missed crack, in false alarms: between photos that the model has decided, the order
is by what its verdict is expected to cost if nobody looks."""
_OPENABLE = ("truncated", "corrupt", "unsupported", "changed", "permission", "io_error")
"""Failures after which there may still be something to look at."""
_LONGEST_TEXT = 5_000
_DIFFERS = f"(human, verdict::VARCHAR) IN {OPPOSITE}"
_PLAIN = "nfc_normalize(lower({}))"
"""A text as it is searched: a Mac writes the accents of its names apart."""
_FOLDER = "regexp_replace(path, '/[^/]*$', '')"
MOST_FOLDERS = 200
"""Folders to choose from, those with the most photos; any other is found by its name."""


def rank(query: Query) -> None:
    """Create `ranked`: rows by tier (what the model left open, what failed and may still show
    something, what the model decided, what nobody can look at) and, within each, by what a look is
    worth: the probability of a crack where the verdict is open, the expected cost of the verdict
    where it is not. And `folders`, which have their photos. Raises as `Query.ask`."""
    for name, words in WORDS.items():
        listed = ", ".join(f"'{word}'" for word in words)
        query.db.execute(f"CREATE TYPE {name}_word AS ENUM ({listed})")
    query.create(
        "folders",
        ["path"],
        f"""SELECT (row_number() OVER (ORDER BY name))::INTEGER AS folder, name, photos FROM (
              SELECT {_FOLDER} AS name, count(*) AS photos FROM photos GROUP BY name)""",
    )
    query.create(
        "ranked",
        ["reason", "failure_code", "p_crack", "path"],
        f"""SELECT row::INTEGER AS row, p_crack, folder,
              {", ".join(f"TRY_CAST({name} AS {name}_word) AS {name}" for name in WORDS)}
            FROM photos JOIN folders ON name = {_FOLDER}
            ORDER BY CASE
              WHEN verdict IS NULL THEN if(failure_code IN {_OPENABLE}, 3, 5)
              WHEN reason = 'near_threshold' THEN 0
              WHEN reason IN ('downscaled', 'scale', 'preview') THEN 2
              WHEN reason = 'model' THEN 4
              ELSE 1 -- the model did not know what it saw, for one
            END, coalesce(CASE
              WHEN verdict = 'clear' THEN {MISS_COST} * p_crack
              WHEN verdict = 'crack' THEN 1 - p_crack
              ELSE p_crack
            END, 0) DESC, row""",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Filters:
    """Filters of a list; empty: all. `verdict` may be `failed`. Raises UsageError for odd words."""

    verdict: str = ""
    reason: str = ""
    failure: str = ""
    label: str = ""
    folder: str = ""
    """A folder; those below it belong to it."""
    text: str = ""
    """Text in the path, in any case of letters, whose accents may be written apart."""

    def __post_init__(self) -> None:
        allowed = {
            "verdict": (*WORDS["verdict"], FAILED),
            "reason": WORDS["reason"],
            "failure": WORDS["failure_code"],
            "label": (*LABELS, OPEN, LABELLED, DIFFERS),
        }
        for name, words in allowed.items():
            value = getattr(self, name)
            if value and value not in words:
                raise UsageError(f"{name}={value!r} is none of: {', '.join(words)}")
        if max(len(self.text), len(self.folder)) > _LONGEST_TEXT:
            raise UsageError(f"a search of more than {_LONGEST_TEXT} characters")

    @classmethod
    def parse(cls, given: Mapping[str, str]) -> Filters:
        """Take them from a page's query; what it does not know is ignored."""
        return cls(**{f.name: given[f.name] for f in fields(cls) if f.name in given})

    def as_sql(self) -> str:
        """Return the condition on a row of `ranked` joined with `said`; all words are our own."""
        conditions = ["true"]
        if self.verdict:
            same = "IS NULL" if self.verdict == FAILED else f"= '{self.verdict}'"
            conditions.append(f"verdict {same}")
        if self.reason:
            conditions.append(f"reason = '{self.reason}'")
        if self.failure:
            conditions.append(f"failure_code = '{self.failure}'")
        by_label = {OPEN: "human IS NULL", LABELLED: "human IS NOT NULL", DIFFERS: _DIFFERS}
        if self.label:
            conditions.append(by_label.get(self.label, f"human = '{self.label}'"))
        return " AND ".join(conditions)


def make_queue(query: Query, name: str, filters: Filters) -> None:
    """Create the table `name` with the rows to look at, the ones most worth it first: `row` at its
    place, `rowid`. Raises as `Query.ask`."""
    found = ""
    if filters.text:
        query.create(
            "found",
            ["path"],
            f"SELECT row FROM photos WHERE contains({_PLAIN.format('path')}, {_PLAIN.format('?')})",
            filters.text,
        )
        found = "SEMI JOIN found USING (row)"
    values: list[str] = []
    if filters.folder:
        values = [filters.folder, f"{filters.folder.rstrip('/')}/"]
        found += """ SEMI JOIN (
          SELECT folder FROM folders WHERE name = ? OR starts_with(name, ?)) USING (folder)"""
    query.db.execute(
        f"""CREATE TABLE {name} AS SELECT row FROM ranked LEFT JOIN said USING (row) {found}
            WHERE {filters.as_sql()}""",
        values,
    )


def counts(query: Query) -> dict[str, dict[str, int]]:
    """Count the rows by each word that a filter can ask for."""
    found: dict[str, Counter[str | None]] = {
        name: Counter() for name in ("verdict", "reason", "failure_code", "label")
    }
    differs = total = 0
    for *words, differ, rows in query.db.execute(
        f"""SELECT verdict, reason, failure_code, human, coalesce({_DIFFERS}, false), count(*)
            FROM ranked LEFT JOIN said USING (row) GROUP BY ALL"""
    ).fetchall():
        total += rows
        differs += rows if differ else 0
        for counter, word in zip(found.values(), words, strict=True):
            counter[word] += rows
    verdicts, reasons, failures, labels = found.values()
    folders = query.db.execute(
        f"""SELECT name, photos FROM (
              FROM folders ORDER BY photos DESC, name LIMIT {MOST_FOLDERS}) ORDER BY name"""
    ).fetchall()
    return {
        "folder": dict(folders) if len(folders) > 1 else {},
        "verdict": _counted(verdicts, WORDS["verdict"]) | {FAILED: verdicts[None]},
        "reason": _counted(reasons, WORDS["reason"]),
        "failure": _counted(failures, WORDS["failure_code"]),
        "label": {OPEN: labels[None], LABELLED: total - labels[None], DIFFERS: differs}
        | _counted(labels, LABELS),
    }


def count_left(query: Query) -> int:
    """Count the rows that are left to a person."""
    left = "human = 'unsure' OR (human IS NULL AND verdict = 'review')"
    some = f"SELECT count(*) FROM ranked LEFT JOIN said USING (row) WHERE {left}"
    ((count,),) = query.db.execute(some).fetchall()
    return int(count)


def _counted(counter: Counter[str | None], words: tuple[str, ...]) -> dict[str, int]:
    return {word: counter[word] for word in words}
