"""Where the windows of a photo lie, and how it is cut into blocks."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from inspector.model.windows import (
    HALO,
    OUTER,
    OVERHANG,
    PART_HALO,
    REACH,
    STRIDE,
    plan_blocks,
    plan_parts,
    window_means,
)

SIZE = 224
sides = st.integers(1, 12_000)
caps = st.integers(500_000, 9_000_000)


@given(sides, sides, caps)
def test_every_cell_counts_once_and_away_from_its_blocks_border(height, width, most):
    plan = plan_blocks(height, width, SIZE, most)
    for axis in (plan.rows, plan.columns):
        counted = [cell for block in axis.blocks for cell in range(block.begin, block.end)]
        assert counted == list(range(axis.cells))
        for block in axis.blocks:
            before, after = block.begin - block.start, block.start + axis.length - block.end
            assert before >= (HALO if block.begin else OUTER)
            assert after >= (HALO if block.end < axis.cells else OUTER)
    block_height, block_width = plan.shape
    assert block_height * block_width <= most


@given(sides, sides, caps)
def test_every_window_counts_once(height, width, most):
    plan = plan_blocks(height, width, SIZE, most)
    for axis in (plan.rows, plan.columns):
        slices = [axis.counted(block, 7) for block in axis.blocks]
        placed = [place for there, _ in slices for place in range(there.start, there.stop)]
        assert placed == list(range(axis.cells - 6))
        for there, here in slices:
            assert here.stop - here.start == there.stop - there.start
            assert here.start >= 0 and here.stop <= axis.length - 6


@given(st.integers(1, 3000))
def test_windows_overhang_evenly(side):
    axis = plan_blocks(side, side, SIZE).rows
    before, after = -axis.first, axis.first + axis.cells * STRIDE - side
    assert 0 <= before - after <= 1 or 0 <= after - before <= 1
    if side > SIZE - 2 * OVERHANG:
        assert OVERHANG <= min(before, after) <= max(before, after) <= OVERHANG + STRIDE // 2
    # Every pixel lies in at least two windows along the axis.
    starts = axis.first + STRIDE * np.arange(axis.cells - 6)
    if len(starts) > 1:
        for pixel in (0, side // 2, side - 1):
            assert ((starts <= pixel) & (pixel < starts + SIZE)).sum() >= 2


@given(st.integers(1, 500))
def test_beyond_the_border_lies_the_reflection(side):
    axis = plan_blocks(side, 100, SIZE).rows
    (block,) = axis.blocks
    seen = axis.seen(block)
    assert seen.min() >= 0 and seen.max() < side
    start = axis.first - OUTER * STRIDE
    padded = np.pad(np.arange(side), (-start, len(seen) - side + start), mode="reflect")
    assert (seen == padded).all()


def test_blocks_of_known_photos():
    plan = plan_blocks(3000, 4000, SIZE)
    assert plan.shape == (1824, 2304) and len(list(plan)) == 4
    assert (plan.rows.first, plan.columns.first) == (-52, -48)
    panorama = plan_blocks(600, 30_000, SIZE)
    assert panorama.shape == (832, 4672) and len(list(panorama)) == 7


def test_a_photo_without_pixels_raises():
    with pytest.raises(ValueError, match="0 x 5"):
        plan_blocks(0, 5, SIZE)


def test_window_means_are_means_of_their_cells():
    cells_HW = np.random.default_rng(0).normal(size=(11, 9)).astype(np.float32)
    means_HW = window_means(cells_HW, 7)
    assert means_HW.shape == (5, 3)
    assert means_HW[2, 1] == pytest.approx(cells_HW[2:9, 1:8].mean(), abs=1e-6)


@given(
    sides, sides, st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), max_size=30), caps
)  # fmt: skip
def test_parts_cover_what_is_wanted_and_cost_no_more_than_all(height, width, places, most):
    plan = plan_blocks(height, width, SIZE, most)
    wanted_HW = np.zeros((plan.rows.cells, plan.columns.cells), np.bool_)
    for y, x in places:
        wanted_HW[int(y * (plan.rows.cells - 1)), int(x * (plan.columns.cells - 1))] = True
    parts = plan_parts(plan, wanted_HW, most)
    assert sum(part.pixels for part in parts) <= plan.pixels
    counted_HW = np.zeros_like(wanted_HW)
    for part in parts:
        assert part.shape[0] * part.shape[1] <= most and min(part.shape) >= SIZE
        for axis in (part.rows, part.columns):
            for block in axis.blocks:
                assert block.begin - block.start >= (PART_HALO if block.begin else OUTER)
                after = block.start + axis.length - block.end
                assert after >= (PART_HALO if block.end < axis.cells else OUTER)
                there, here = axis.counted(block, 7)
                assert max(there.stop - there.start, 0) == max(here.stop - here.start, 0)
                assert min(there.start, there.stop, here.start, here.stop) >= 0
                assert here.stop <= max(axis.length - 6, here.start)
        for rows, columns in part:
            counted_HW[rows.begin : rows.end, columns.begin : columns.end] = True
    for row, column in np.argwhere(wanted_HW):
        top, left = max(row - REACH, 0), max(column - REACH, 0)
        assert counted_HW[top : row + REACH + 1, left : column + REACH + 1].all()


def test_parts_of_a_photo_without_anything_wanted_are_none():
    plan = plan_blocks(3000, 4000, SIZE)
    assert plan_parts(plan, np.zeros((plan.rows.cells, plan.columns.cells), np.bool_)) == []
    wanted_HW = np.zeros((plan.rows.cells, plan.columns.cells), np.bool_)
    wanted_HW[50, 60] = True
    (part,) = plan_parts(plan, wanted_HW)
    assert part.pixels < 0.02 * plan.pixels
    assert plan_parts(plan, ~np.zeros_like(wanted_HW)) == [plan]
