"""The ledger finds every row again, tells changed files, and mixes nobody up."""

from __future__ import annotations

import hashlib
import os

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from inspector.errors import OutputError
from inspector.results.ledger import Ledger
from inspector.types import ImageRef

YEAR_10000_US = 253_402_300_800_000_000


def content(number):
    return hashlib.sha256(str(number).encode()).digest()


def ref(number, size=5, mtime_us=7):
    return ImageRef(number, f"/{number}", f"file:///{number}.jpg", size, mtime_us)


def write_part(path, numbers, *, size=5, mtime_us=7, failed=(), hashed=True):
    numbers = list(numbers)
    columns = {
        "uri": pa.array([ref(n).uri for n in numbers], pa.string()),
        "size_bytes": pa.array([size] * len(numbers), pa.int64()),
        "mtime": pa.array([mtime_us] * len(numbers), pa.timestamp("us")),
        "verdict": pa.array([None if n in failed else "clear" for n in numbers], pa.string()),
        "failure_code": pa.array(["empty" if n in failed else None for n in numbers], pa.string()),
        "content_hash": pa.array(
            [content(n).hex() if hashed else None for n in numbers], pa.string()
        ),
    }
    pq.write_table(pa.table(columns), path)
    return path.name, len(numbers)


@pytest.fixture
def three(tmp_path):
    """Rows 0..99 in a part, none in the next, 100..149 in the last."""
    return [
        write_part(tmp_path / "a", range(100), failed={3}),
        write_part(tmp_path / "b", []),
        write_part(tmp_path / "c", range(100, 150), failed={101}),
    ]


def test_every_row_is_found_and_nothing_else(tmp_path, three):
    ledger = Ledger(tmp_path, three)
    assert len(ledger) == ledger.unseen == 150
    standing = ledger.look_up([ref(n) for n in range(200)])
    assert standing.known_N.tolist() == [n < 150 for n in range(200)]
    assert standing.current_N.tolist() == [n < 150 for n in range(200)]
    assert np.flatnonzero(standing.failed_N).tolist() == [3, 101]
    assert ledger.unseen == 0
    assert ledger.look_up([]).known_N.tolist() == []


@pytest.mark.parametrize(
    "facts", [(6, 7), (5, 8), (5, 6), (7, 5), (None, 7), (5, None), (None, None)]
)
def test_another_size_or_time_is_another_state(tmp_path, three, facts):
    standing = Ledger(tmp_path, three).look_up([ref(1), ref(2, *facts)])
    assert standing.known_N.tolist() == [True, True]
    assert standing.current_N.tolist() == [True, False]


def test_facts_that_could_not_be_read_compare_like_others(tmp_path):
    part = write_part(tmp_path / "a", [1], size=None, mtime_us=None)
    current = Ledger(tmp_path, [part]).look_up([ref(1, None, None)]).current_N
    assert current.tolist() == [True]
    # A time beyond the calendar is null in the table; the file is not for ever a changed one.
    current = Ledger(tmp_path, [part]).look_up([ref(1, None, YEAR_10000_US)]).current_N
    assert current.tolist() == [True]


def test_by_content_only_the_content_counts(tmp_path):
    parts = [
        write_part(tmp_path / "a", [1, 2, 3]),
        write_part(tmp_path / "b", [4, 5], hashed=False),
    ]
    ledger = Ledger(tmp_path, parts, by_content=True)
    asked: list[int] = []

    def digests(refs):
        asked.extend(r.index for r in refs)
        return {1: [content(1)], 2: [content(9)], 3: [None]}.get(refs[0].index, [content(4)])

    def is_current(one):
        return ledger.look_up([one], digests).current_N.tolist() == [True]

    assert is_current(ref(1, size=99, mtime_us=99))
    assert not is_current(ref(2))
    assert not is_current(ref(3)), "it can be read no more"
    assert is_current(ref(4)), "a row without a hash goes by size and time"
    assert not is_current(ref(5, mtime_us=8))
    ledger.look_up([ref(77)], lambda refs: [] if not refs else pytest.fail("no row, no reading"))
    assert asked == [1, 2, 3, 4, 5]


def test_who_was_not_seen_and_where_rows_lie(tmp_path, three):
    ledger = Ledger(tmp_path, three)
    ledger.look_up([ref(n) for n in range(100)])
    ledger.look_up([ref(n) for n in range(110, 150)])
    assert ledger.unseen == 10
    assert ledger.files_with_unseen() == ["c"]
    marks = ledger.are_unseen([ref(n).uri for n in (5, 100, 109, 110, 777)])
    assert marks == [False, True, True, False, False]
    assert ledger.files_with([ref(1).uri, ref(99).uri]) == ["a"]
    assert ledger.files_with([ref(149).uri, ref(0).uri, ref(200).uri]) == ["a", "c"]
    assert ledger.files_with([]) == []
    assert Ledger(tmp_path, []).files_with([ref(1).uri]) == []


def test_two_rows_of_one_file_are_named_with_their_parts(tmp_path):
    parts = [write_part(tmp_path / "a", [1, 2]), write_part(tmp_path / "b", [3, 2])]
    with pytest.raises(OutputError, match=r"/a and .*/b both have a row for file:///2\.jpg"):
        Ledger(tmp_path, parts)


def test_rows_whose_hashes_meet_stay_apart(tmp_path, three, monkeypatch):
    """A salt under which two uris share their first 64 bits is given up for another."""
    real, salts = Ledger._hash, []

    def unlucky(self, uris):
        hashes, rest = real(self, uris)
        salts.append(self._salt)
        if self._salt == salts[0]:
            hashes = hashes & np.uint64(0xFF)
        return hashes, rest

    monkeypatch.setattr(Ledger, "_hash", unlucky)
    ledger = Ledger(tmp_path, three)
    assert len(set(salts)) == 2
    assert ledger.look_up([ref(n) for n in range(151)]).current_N.tolist() == [True] * 150 + [False]


def test_memory_per_row_is_as_documented(tmp_path, three):
    ledger = Ledger(tmp_path, three)
    arrays = [value for value in vars(ledger).values() if isinstance(value, np.ndarray)]
    assert sum(a.nbytes for a in arrays if len(a) == 150) == 22 * 150


def test_a_part_that_is_gone_is_an_error(tmp_path, three):
    os.unlink(tmp_path / "c")
    with pytest.raises(OutputError, match="c cannot be read"):
        Ledger(tmp_path, three)


def test_a_part_that_another_scan_rewrites_meanwhile_is_an_error(tmp_path, three):
    write_part(tmp_path / "c", range(100, 140))
    with pytest.raises(OutputError, match="c is being changed"):
        Ledger(tmp_path, three)
