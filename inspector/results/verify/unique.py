"""Whether any uri stands in two rows: for tens of millions of rows in bounded memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

MOST_CANDIDATES = 100_000
"""Doubled hashes whose uris are compared; a table with more has been found out by then."""


class UriCensus:
    """Collects the uris of each part as 64-bit hashes, 8 bytes a row."""

    def __init__(self) -> None:
        self._hashes: dict[str, NDArray[np.int64]] = {}

    def add(self, part: str, uris: Sequence[str]) -> None:
        """More uris of `part`, in the order of its rows."""
        more = np.fromiter(map(hash, uris), np.int64, len(uris))
        known = self._hashes.get(part)
        self._hashes[part] = more if known is None else np.concatenate((known, more))

    def without_row(self, uris: Sequence[str]) -> list[str]:
        """Those of `uris` that no part has. By hashes: one that is
        missing is overlooked in one of 2^64 / rows cases."""
        known = [hashes for hashes in self._hashes.values() if len(hashes)]
        asked = np.fromiter(map(hash, uris), np.int64, len(uris))
        found = np.isin(asked, np.concatenate(known)) if known else np.zeros(len(uris), np.bool_)
        return [uri for uri, there in zip(uris, found.tolist(), strict=True) if not there]

    def doubled(self, read: Callable[[str], Sequence[str]]) -> Iterator[tuple[str, str, str]]:
        """Every repetition of a uri with the part it stands in first and the part that repeats it.
        `read` gives a part's uris again: equal hashes only raise the suspicion."""
        suspects = self._suspects()
        if not len(suspects):
            return
        first: dict[str, str] = {}
        for part, hashes in self._hashes.items():
            rows = np.flatnonzero(np.isin(hashes, suspects))
            uris = read(part) if len(rows) else ()
            for row in rows.tolist():
                uri = uris[row]
                if uri in first:
                    yield uri, first[uri], part
                else:
                    first[uri] = part

    def _suspects(self) -> NDArray[np.int64]:
        if not self._hashes:
            return np.empty(0, np.int64)
        ordered = np.concatenate(list(self._hashes.values()))
        ordered.sort()
        return np.unique(ordered[1:][ordered[1:] == ordered[:-1]])[:MOST_CANDIDATES]
