"""What people said, at the end of a scan: it follows photos that lie elsewhere now, byte for byte;
what counts no longer is counted, so that no decision goes without a word."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from inspector.core.layout import Layout
from inspector.errors import OutputError
from inspector.photos.address import LOCAL
from inspector.photos.source import gone_among
from inspector.results.labels import (
    is_of_same_bytes,
    newest,
    open_labels,
    read_decisions,
    says_something,
)
from inspector.results.parts import read_columns, rows_of
from inspector.results.reader import read_steadily
from inspector.results.schema import JUDGED_AT
from inspector.results.view import KEYS

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from inspector.results.reader import Table
    from inspector.results.store import Results
    from inspector.types import JsonObject


@dataclass(frozen=True, slots=True, kw_only=True)
class Following:
    """Decisions of people, in photos, by what this run has done to them."""

    moved: int = 0
    """They count for the address that their photo has now."""
    changed: int = 0
    """They count no longer: the photo has other bytes."""
    dropped: int = 0
    """They count no longer: the photo's row was dropped."""
    at_risk: int = 0
    """Their photo is gone, nobody knows where to, and they count as long as its row is kept."""


def follow_photos(results: Results, began: datetime) -> Following:
    """Repeat what people said of photos for the addresses at which their bytes lie now, after a
    run that `began` then (UTC) came to the end of its listing.

    A photo has moved where its file is gone or has other bytes, and exactly one file that is there
    has its bytes and got its row after they had been looked at; a copy that was there by then has
    labels of its own. That does not ask which run it was, so after a kill the next one does it.
    """
    try:
        last = {row["uri"]: row for row in newest(read_decisions(results.out)).to_pylist()}
        said = {uri: row for uri, row in last.items() if says_something(row)}
        if not said:
            return Following()
        return _Looked(results, last, said).settle(began)
    except OutputError as error:
        results.notes.append(f"whether labels still fit their photos was not looked up: {error}")
        return Following()


class _Looked:
    """What stands in the table about the photos of `said`, and about others with their bytes."""

    def __init__(
        self, results: Results, last: dict[str, JsonObject], said: dict[str, JsonObject]
    ) -> None:
        """Raises OutputError."""
        self._results, self._last, self._said = results, last, said
        self._here: dict[str, JsonObject] = {}
        self._copies: defaultdict[str, list[JsonObject]] = defaultdict(list)
        hashes = {row["content_hash"] for row in said.values()} - {None}
        uris, contents = pa.array(said, pa.string()), pa.array(hashes, pa.string())

        def read(table: Table) -> list[JsonObject]:
            found = []
            for batch in table.batches((*KEYS, JUDGED_AT)):
                own = pc.is_in(batch["uri"], value_set=uris)
                copy = pc.is_in(batch["content_hash"], value_set=contents)
                found += batch.filter(pc.or_(own, copy)).to_pylist()
            return found

        for row in read_steadily(results.out, read):
            if row["uri"] in said:
                self._here[row["uri"]] = row
            self._copies[row["content_hash"]].append(row)
        self._gone = set(gone_among([uri for uri in said if uri.startswith(LOCAL)]))

    def settle(self, began: datetime) -> Following:
        """Raises OutputError."""
        moves = self._moves()
        if moves:
            with open_labels(self._results.out, "") as labels:
                labels.repeat(moves)
        safe = {row["content_hash"] for row in self._said.values() if self._is_safe(row)}
        safe |= {self._said[old]["content_hash"] for old in moves.values()}
        missing = [r for r in self._said.values() if r["content_hash"] not in safe - {None}]
        known = self._results.ledger.have_rows([row["uri"] for row in missing])
        changed = dropped = at_risk = 0
        for row, known_before in zip(missing, known, strict=True):
            now = self._here.get(row["uri"])
            if now is None:
                dropped += known_before
            elif self._stands(row):
                at_risk += row["uri"] in self._gone
            elif now[JUDGED_AT] >= max(began, row["labelled_at"]):
                changed += 1
        return Following(moved=len(moves), changed=changed, dropped=dropped, at_risk=at_risk)

    def _stands(self, row: JsonObject) -> bool:
        """Whether the photo's row is of the bytes that were looked at."""
        now = self._here.get(row["uri"])
        return now is not None and is_of_same_bytes(now, row)

    def _is_safe(self, row: JsonObject) -> bool:
        return self._stands(row) and row["uri"] not in self._gone

    def _moves(self) -> dict[str, str]:
        """By the address of a photo that has moved, the one at which it was looked at."""
        astray = [row for row in self._said.values() if not self._is_safe(row)]
        found = {row["uri"]: self._newcomers(row) for row in astray}
        others = {uri for uris in found.values() for uri in uris}
        gone = self._gone | set(gone_among(sorted(others - self._said.keys())))
        moves = {}
        for row in sorted(astray, key=lambda row: row["labelled_at"]):
            there = [uri for uri in found[row["uri"]] if uri not in gone]
            if len(there) == 1 and not self._is_settled(row, there[0]):
                moves[there[0]] = row["uri"]
        return moves

    def _newcomers(self, row: JsonObject) -> list[str]:
        """Other photos of the same bytes, which have their rows since these were looked at."""
        if row["content_hash"] is None:
            return []
        return [
            copy["uri"]
            for copy in self._copies[row["content_hash"]]
            if copy["uri"] != row["uri"] and copy[JUDGED_AT] > row["labelled_at"]
        ]

    def _is_settled(self, row: JsonObject, there: str) -> bool:
        """Whether a person has said, or taken back, the same or something newer there."""
        own = self._last.get(there)
        if own is None or own["labelled_at"] < row["labelled_at"]:
            return False
        return own["content_hash"] == row["content_hash"] or not says_something(own)


class Missing:
    """Rows whose files are gone and that are kept; how many of these photos lie elsewhere now."""

    def __init__(self, results: Results) -> None:
        self._table = Layout(results.out).table
        self._results = results
        self._gone: Counter[str] = Counter()

    def add(self, file: str, uris: Sequence[str]) -> None:
        """Take rows of a part. Raises OutputError."""
        mine = rows_of(self._table / file, uris, ["uri", "content_hash"])
        self._gone.update(filter(None, mine["content_hash"].to_pylist()))

    def elsewhere(self) -> int:
        """Count those with bytes that another row has, whose file is there. Raises OutputError."""
        if not self._gone:
            return 0
        wanted, rows = pa.array(self._gone, pa.string()), Counter[str]()
        for part in self._results.parts:
            hashes = read_columns(self._table / part.file, ["content_hash"])["content_hash"]
            rows.update(hashes.filter(pc.is_in(hashes, value_set=wanted)).to_pylist())
        return sum(count for content, count in self._gone.items() if rows[content] > count)
