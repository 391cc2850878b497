"""Index of a table: which files have a row, and whether the row is still current.

22 bytes per row, so that a table of ten million rows fits in memory several times over; nothing
is kept of a file's name but hashes.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from inspector.core.text import calendar_us, quantity
from inspector.errors import OutputError
from inspector.results.parts import OUTCOMES, counted, outcomes_of, read_columns
from inspector.types import FailureCode

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from inspector.types import ImageRef

    Hashes = NDArray[np.uint64]
    Digests = Callable[[Sequence[ImageRef]], Sequence[bytes | None]]

_NO_SIZE = -1
_NO_TIME = np.iinfo(np.int64).min
_SLICES = 16
"""Hashes are ranked a slice of their range at a time, which keeps the work memory small."""


@dataclass(frozen=True, slots=True)
class Standing:
    """State of N files in the table. `known_N`: it has a row; `current_N`: made from the file
    as it is now; `failed_N`: which says that the file could not be judged."""

    known_N: NDArray[np.bool_]
    current_N: NDArray[np.bool_]
    failed_N: NDArray[np.bool_]


class Ledger:
    """The rows of a table's parts, by 64 bits of a salted hash of their uri. Another 64 bits of it,
    mixed with the file's size and time or with its content, tell whether the row is current.

    A file is skipped by mistake when all 128 bits meet those of another state or file: for ten
    million rows and as many files, with probability 3e-25. Two rows never share the first 64 bits:
    where they do, a new salt is taken. Raises OutputError for two rows of one uri, and for a part
    that cannot be read.
    """

    def __init__(
        self,
        out: Path,
        parts: Sequence[tuple[str, int]],
        *,
        by_content: bool = False,
        address: Callable[[str], str] | None = None,
    ) -> None:
        """`parts`: file name in `out` and number of rows of each. With `by_content` a row is
        current while the file's sha256 is the same, else while its size and time are; `address`
        makes of a row's uri the one that its photo has now."""
        self.files = [file for file, _ in parts]
        self.by_content = by_content
        self._out = out
        self._address = address
        self._ends = np.cumsum([rows for _, rows in parts], dtype=np.int64)
        total = int(self._ends[-1]) if parts else 0
        # In the order of the parts' rows:
        self._states = np.empty(total, np.uint64)
        self._outcomes = np.empty(total, np.uint8)
        self._seen = np.zeros(total, np.bool_)
        # In the order of the hashes, with the row of each:
        self._hashes = np.empty(total, np.uint64)
        self._rows = np.empty(total, np.uint32)
        self._fill()

    def add(self, file: str, rows: int) -> None:
        """Take in one more part. Raises as the constructor."""
        begin = len(self)
        self.files.append(file)
        self._ends = np.append(self._ends, np.int64(begin + rows))
        hashes, states, outcomes = self._read(self._out / file, rows)
        order = np.argsort(hashes)
        places = np.searchsorted(self._hashes, hashes[order])
        self._hashes = np.insert(self._hashes, places, hashes[order])
        self._rows = np.insert(self._rows, places, (begin + order).astype(np.uint32))
        self._states = np.append(self._states, states)
        self._outcomes = np.append(self._outcomes, outcomes)
        self._seen = np.append(self._seen, np.zeros(rows, np.bool_))
        if self._has_twins():
            self._fill()

    def __len__(self) -> int:
        return len(self._hashes)

    @property
    def unseen(self) -> int:
        """Rows whose file was not looked up."""
        return len(self) - int(np.count_nonzero(self._seen))

    @property
    def outcomes(self) -> Counter[str]:
        """Rows counted by the words of `OUTCOMES`."""
        return counted(self._outcomes)

    @property
    def judged_and_seen(self) -> int:
        """Rows with a verdict whose file was looked up."""
        return int(np.count_nonzero(self._seen & ~_failed(self._outcomes)))

    def look_up(self, refs: Sequence[ImageRef], digests: Digests | None = None) -> Standing:
        """Look up `refs`, which count as seen from now on. `digests` gives the sha256
        of files, None for one that cannot be read; `by_content` needs it, for files with a row."""
        hashes, rest = self._hash(ref.uri.encode() for ref in refs)
        rows = self._find(hashes)
        known = rows >= 0
        self._seen[rows[known]] = True
        states = np.zeros(len(refs), np.uint64)
        states[known] = self._states[rows[known]]
        failed = np.zeros(len(refs), np.bool_)
        failed[known] = _failed(self._outcomes[rows[known]])
        sizes = [_NO_SIZE if ref.size is None else ref.size for ref in refs]
        times = [calendar_us(ref.mtime_us) for ref in refs]
        times_us = np.array([_NO_TIME if time is None else time for time in times], np.int64)
        current = states == _state(rest, np.array(sizes, np.int64), times_us)
        if digests is not None:
            places = np.flatnonzero(known).tolist()
            for place, digest in zip(places, digests([refs[p] for p in places]), strict=True):
                if digest is not None:
                    content = np.uint64(int.from_bytes(digest[:8], "big"))
                    current[place] |= states[place] == rest[place] ^ content
        return Standing(known, current & known, failed)

    def other_photos(self, out: str, below: tuple[str, ...]) -> str | None:
        """Return a note for a table, called `out`, whose rows are all of files not looked up, and
        whose first ones are of none `below` the sources, where it may have had another name."""
        if not self.unseen or self.unseen < len(self):
            return None
        file = next(file for file, begin, end in self._spans() if begin < end)
        rows = read_columns(self._out / file, ["uri", "path"])
        if any(uri.startswith(below) for uri in rows["uri"].to_pylist()):
            return None
        example = rows["path"][0].as_py()
        return (
            f"{out} holds {quantity(len(self), 'row')} of other photos, such as {example}; this "
            "scan adds its own to them (another --out keeps them apart)"
        )

    def see(self, uris: Iterable[str]) -> None:
        """Count these photos as looked up."""
        rows = self._find(self.hashes(uris))
        self._seen[rows[rows >= 0]] = True

    def hashes(self, uris: Iterable[str]) -> Hashes:
        """Return the first 64 bits of each uri's hash."""
        return self._hash(uri.encode() for uri in uris)[0]

    def without_row(self, uris: Iterable[str]) -> Hashes:
        """Return the hashes of those of `uris` that have no row."""
        hashes = self.hashes(uris)
        return np.unique(hashes[self._find(hashes) < 0])

    def have_rows(self, uris: Iterable[str]) -> list[bool]:
        """Tell for each of `uris` whether it has a row."""
        return [bool(row >= 0) for row in self._find(self.hashes(uris))]

    def files_with(self, uris: Iterable[str]) -> list[str]:
        """Return the parts that may hold rows of `uris`."""
        if not len(self):
            return []
        rows = self._find(self.hashes(uris))
        parts = np.unique(np.searchsorted(self._ends, rows[rows >= 0], side="right"))
        return [self.files[part] for part in parts]

    def files_with_unseen(self) -> list[str]:
        """Return the parts with rows whose file was not looked up."""
        spans = self._spans()
        return [file for file, begin, end in spans if not self._seen[begin:end].all()]

    def are_unseen(self, uris: Sequence[str]) -> list[bool]:
        """Tell for each of `uris` whether it has a row whose file was not looked up."""
        rows = self._find(self.hashes(uris))
        return [bool(row >= 0 and not self._seen[row]) for row in rows]

    def _find(self, hashes: Hashes) -> NDArray[np.int64]:
        """Return the rows with these hashes, -1 where there is none."""
        if not len(self):
            return np.full(len(hashes), -1, np.int64)
        places = np.searchsorted(self._hashes, hashes)
        places[places == len(self)] = 0
        rows = self._rows[places].astype(np.int64)
        rows[self._hashes[places] != hashes] = -1
        return rows

    def _hash(self, uris: Iterable[bytes]) -> tuple[Hashes, Hashes]:
        """Return two independent 64-bit hashes of each."""
        blake2b, salt = hashlib.blake2b, self._salt
        digests = b"".join([blake2b(uri, digest_size=16, salt=salt).digest() for uri in uris])
        pairs = np.frombuffer(digests, np.uint64).reshape(-1, 2)
        return pairs[:, 0], pairs[:, 1]

    def _fill(self) -> None:
        """Read all parts, under another salt as long as two rows meet in one hash."""
        self._salt = os.urandom(hashlib.blake2b.SALT_SIZE)
        for file, begin, end in self._spans():
            read = self._read(self._out / file, end - begin)
            self._hashes[begin:end], self._states[begin:end], self._outcomes[begin:end] = read
        self._rank()
        if self._has_twins():
            self._fill()

    def _has_twins(self) -> bool:
        """Whether two rows met in one hash. Raises OutputError where they are of one uri."""
        twins = np.flatnonzero(self._hashes[1:] == self._hashes[:-1])
        if len(twins):
            self._refuse_doubles(np.concatenate([self._rows[twins], self._rows[twins + 1]]))
        return len(twins) > 0

    def _read(self, path: Path, rows: int) -> tuple[Hashes, Hashes, NDArray[np.uint8]]:
        """Return hashes, states and outcomes of the rows of a part."""
        columns = ["uri", "size_bytes", "mtime", "verdict", "failure_code"]
        columns += ["content_hash"] if self.by_content else []
        table = read_columns(path, columns)
        if table.num_rows != rows:
            raise OutputError(f"{path} is being changed by another scan; try again when it is done")
        uris = table["uri"].cast(pa.binary()).to_pylist()
        if self._address:
            uris = [self._address(uri.decode()).encode() for uri in uris]
        hashes, rest = self._hash(uris)
        sizes = table["size_bytes"].fill_null(_NO_SIZE).to_numpy()
        times_us = table["mtime"].cast(pa.int64()).fill_null(_NO_TIME).to_numpy()
        states = _state(rest, sizes, times_us)
        if self.by_content:
            contents = table["content_hash"].to_pylist()
            known = np.array([content is not None for content in contents], np.bool_)
            begins = np.array([int(c[:16], 16) for c in contents if c is not None], np.uint64)
            states[known] = rest[known] ^ begins
        return hashes, states, outcomes_of(table)

    def _rank(self) -> None:
        """Sort the hashes and note where each came from."""
        filled = 0
        bounds = [(number << 64) // _SLICES for number in range(_SLICES + 1)]
        for low, high in pairwise(bounds):
            inside = (self._hashes >= np.uint64(low)) & (self._hashes <= np.uint64(high - 1))
            rows = np.flatnonzero(inside)
            rows = rows[np.argsort(self._hashes[rows])]
            self._rows[filled : filled + len(rows)] = rows
            filled += len(rows)
        self._hashes.sort()

    def _refuse_doubles(self, rows: NDArray[np.uint32]) -> None:
        """Raise OutputError when two of `rows` are of one uri and not only of one hash."""
        owners: dict[str, Path] = {}
        for file, begin, end in self._spans():
            inside = np.unique(rows[(rows >= begin) & (rows < end)]) - np.uint32(begin)
            if not len(inside):
                continue
            path = self._out / file
            for uri in read_columns(path, ["uri"])["uri"].take(pa.array(inside)).to_pylist():
                if uri in owners:
                    raise OutputError(
                        f"{owners[uri]} and {path} both have a row for {uri}; remove one of these "
                        "parts, its other photos are scanned again"
                    )
                owners[uri] = path

    def _spans(self) -> Iterator[tuple[str, int, int]]:
        """Yield each part with its first row and the one after its last."""
        begin = 0
        for file, end in zip(self.files, self._ends.tolist(), strict=True):
            yield file, begin, end
            begin = end


def _failed(outcomes: NDArray[np.uint8]) -> NDArray[np.bool_]:
    return np.isin(outcomes, [OUTCOMES.index(code) for code in FailureCode])


def _state(rest: Hashes, sizes: NDArray[np.int64], times_us: NDArray[np.int64]) -> Hashes:
    """A hash of size and time, mixed into `rest`, the file's own."""
    return rest ^ _scramble(_scramble(sizes.view(np.uint64)) + times_us.view(np.uint64))


def _scramble(values: Hashes) -> Hashes:
    """The finaliser of SplitMix64 (Steele, Lea, Flood: Fast splittable pseudorandom number
    generators, 2014): one-to-one, and every bit depends on every other."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))
