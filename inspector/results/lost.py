"""Parts that are gone: their rows are known by lists of photos until all are there again."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

import numpy as np

from inspector.core.durable import publish
from inspector.core.layout import TABLE
from inspector.core.text import quantity
from inspector.core.untrusted import read_plain
from inspector.results.manifest import AGAIN

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from inspector.core.layout import Layout
    from inspector.results.ledger import Ledger
    from inspector.results.manifest import Part

_LONGEST = 1 << 16
"""Longest uri, bytes."""
_MOST = 1 << 28
"""Most bytes of a list that are read."""


def list_of(uris: Iterable[str]) -> bytes:
    """The photos of a part as the content of the file that names them: a uri, pure ASCII, a line;
    deflated, with zlib's checksum."""
    return zlib.compress("".join(f"{uri}\n" for uri in uris).encode(), level=1)


def write_list(at: Layout, part: str, uris: Iterable[str]) -> None:
    """List the photos of a part. Raises OSError."""
    photos = at.photos(part)
    publish(list_of(uris), photos, at.draft(photos.name))


def read_list(path: Path, most: int) -> list[str] | None:
    """Read up to `most` uris; None where the file is gone or damaged."""
    unpacker = zlib.decompressobj()
    try:
        content = unpacker.decompress(read_plain(path), min(_MOST, most * _LONGEST + 1))
        uris = content.decode("ascii").splitlines()
    except (OSError, zlib.error, ValueError):
        return None
    whole = unpacker.eof and not unpacker.unused_data
    return uris if whole and len(uris) <= most else None


class LostRows:
    """The parts in `lost`, which are gone; of which of their photos there is no row in the table,
    by hashes of `ledger`, 8 bytes each."""

    def __init__(self, at: Layout, lost: Sequence[Part], ledger: Ledger) -> None:
        self._at = at
        self._ledger = ledger
        self.parts = {part.file: part for part in lost if part.rows}
        self._missing: dict[str, NDArray[np.uint64] | None] = {}
        for file in self.parts:
            uris = self.uris(file)
            self._missing[file] = None if uris is None else ledger.without_row(uris)
        self._settle()

    @property
    def rows(self) -> int:
        """Number of rows that are not there again."""
        return sum(map(self.missing, self.parts))

    def missing(self, file: str) -> int:
        """Count the rows of a lost part that are not there again; all where none is known."""
        hashes = self._missing[file]
        return self.parts[file].rows if hashes is None else len(hashes)

    def uris(self, file: str) -> list[str] | None:
        """Return the photos of a lost part; None where its list is gone or damaged."""
        return read_list(self._at.photos(file), self.parts[file].rows)

    def notes(self) -> list[str]:
        """Return a sentence about each lost part, and one about all photos to be judged again."""
        again = [file for file, part in self.parts.items() if part.sha256 == AGAIN]
        said = {file: f"{TABLE}/{file} was lost with {quantity(self.parts[file].rows, 'row')}"
                for file in self.parts if file not in again}  # fmt: skip
        notes = [self._note(lost, [file]) for file, lost in said.items()]
        if again:
            photos = quantity(sum(self.parts[file].rows for file in again), "photo")
            notes.append(self._note(f"{photos} to be judged again at other thresholds", again))
        return notes

    def _note(self, said: str, files: Sequence[str]) -> str:
        missing = sum(map(self.missing, files))
        known = all(self._missing[file] is not None for file in files)
        remedy = "" if known else ", and which they are is not known: put the file back"
        return f"{said}; {missing:,} of them had no row when this scan began{remedy}"

    def found(self, uris: Sequence[str]) -> None:
        """Note that these photos have a row now, or are to have none."""
        if not self.parts:
            return
        hashes = self._ledger.hashes(uris)
        for file, missing in self._missing.items():
            if missing is not None:
                self._missing[file] = np.setdiff1d(missing, hashes)
        self._settle()

    def give_up(self, uris: Iterable[str]) -> None:
        """Note that these photos are to have no row any more. Raises OSError."""
        gone = set(uris)
        for file in tuple(self.parts):
            known = self.uris(file)
            if known is not None and not gone.isdisjoint(known):
                write_list(self._at, file, (uri for uri in known if uri not in gone))
        self.found(sorted(gone))

    def without_row(self, file: str) -> list[str]:
        """Return the photos of a lost part that have no row yet."""
        hashes, uris = self._missing[file], self.uris(file)
        if hashes is None or not uris:
            return []
        marks = np.isin(self._ledger.hashes(uris), hashes)
        return [uri for uri, mark in zip(uris, marks.tolist(), strict=True) if mark]

    def _settle(self) -> None:
        """Forget parts all of whose rows are there again."""
        for file in [file for file in self.parts if not self.missing(file)]:
            del self.parts[file], self._missing[file]
