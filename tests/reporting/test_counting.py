"""Counting in bounded memory loses nothing but detail."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from inspector.reporting.best import Best
from inspector.reporting.coarse import Coarse
from inspector.reporting.copies import Copies
from inspector.reporting.counts import Group, count, count_by, no_cells
from inspector.reporting.sites import METRES_PER_DEGREE, find_sites
from inspector.reporting.tally import SIDES, cut_folder, cut_place
from inspector.reporting.wording import share

STEPS = st.integers(-9_000_000, 9_000_000)


@given(st.lists(st.tuples(STEPS, STEPS), max_size=60), st.integers(1, 10))
def test_coarser_squares_hold_what_the_finer_held(places, most):
    counted = Coarse(most, SIDES, cut_place)
    one = no_cells() + np.eye(4, dtype=int)
    for place in places:
        counted.add(place, one)
    squares = counted.at(counted.level)
    assert sum(int(cells[0, 0]) for cells in squares.values()) == len(places)
    assert len(squares) <= most or counted.level == SIDES[-1]
    for place in places:
        assert cut_place(place, counted.level) in squares


def test_folders_are_cut_from_below():
    assert cut_folder("file:///a/b/c", 2) == "file:///a/b"
    assert cut_folder("file:///a", 2) == "file:///a"
    assert cut_folder("file://", 2) == "file://"


def test_each_key_gets_its_own_cells():
    keys = pa.array(["a", "b", "a", "c"])
    cell_N = np.array([0, 5, 4, 15])
    found = dict(count_by(keys, cell_N))
    assert set(found) == {"a", "b", "c"}
    assert np.array_equal(sum(found.values()), count(cell_N))
    # The model said crack once and review once; both are cracks after review.
    assert Group.of("a", found["a"]) == Group("a", 2, 1, 2, 0, 0, 0)


@given(st.lists(st.lists(st.floats(0, 1, width=32) | st.none()), max_size=6))
def test_the_best_of_pieces_are_the_best_of_all(pieces):
    best = Best(5, [("p", "descending")])
    for piece in pieces:
        best.add(pa.table({"p": pa.array(piece, pa.float32())}))
    values = [value for piece in pieces for value in piece]
    known = sorted((v for v in values if v is not None), reverse=True)
    expected = (known + [None] * len(values))[: min(5, len(values))]
    assert [row["p"] for row in best.rows()] == expected
    assert best.total == len(values)


def test_copies_are_counted_beyond_the_first():
    copies = Copies()
    for hashes in (["a" * 64, "b" * 64, None], ["a" * 64, "a" * 64, "a" * 63 + "b"]):
        copies.add(pa.chunked_array([hashes], pa.string()))
    assert copies.count() == 3, "four files begin with the same 64 bits"
    assert Copies().count() == 0


def test_sites_are_drawn_to_scale_with_north_up():
    group = Group("", 1, 0, 0, 0, 1, 0)
    crack = Group("", 1, 1, 1, 0, 0, 0)
    first, second = find_sites([(47.0, 14.0, group), (47.001, 14.002, crack), (60.0, 5.0, group)])
    assert (first.cracks, first.photos, second.photos) == (1, 2, 1)
    low, high = first.marks
    assert high.kind == "crack", "drawn last, above the others"
    assert high.y < low.y and high.x > low.x
    metres = (low.y - high.y) / first.bar * first.bar_metres
    assert metres == pytest.approx(0.001 * METRES_PER_DEGREE)
    assert all(0 < mark.x < 640 and 0 < mark.y < first.height for mark in first.marks)


@pytest.mark.parametrize(
    ("part", "whole", "words"),
    [(0, 9, "0.0 %"), (1, 10**6, "< 0.1 %"), (10**6 - 1, 10**6, "> 99.9 %"), (9, 9, "100.0 %"),
     (0, 0, "-")],
)  # fmt: skip
def test_some_is_never_none_and_most_never_all(part, whole, words):
    assert share(part, whole) == words
