"""Windows of a photo that is judged at its own scale: where they lie, and what was found in them.

A photo is covered by square cells of `STRIDE` px, a little beyond its borders, where it is
continued by its reflection; a window is a square of some of them, one at every cell. The network
looks at it in blocks of one shape, which overlap, so that no cell that counts lies near a block's
border: there the network pads with zeros. Blocks follow from the photo's size alone, so a photo's
answers do not depend on what is judged beside it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Self

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    Place = tuple[slice, slice]

STRIDE = 32
"""Pixels from window to window: the stride of the network's last features."""
USUAL = 7
"""Cells along a side of a window of 224 px."""
OVERHANG = 48
"""Pixels by which windows lie over the photo's borders, at least, and at most half a cell more: a
pixel at the border then lies in two or three windows along each axis."""
OUTER = 2
"""Cells between the outermost windows and the border of what the network sees. With the overhang
they keep the photo itself four cells away from it."""
HALO = 6
"""Cells between a cell that counts and the border of its block, within the photo: 192 px, with
which log odds of windows differ by less than 0.01 from those of one pass over a whole photo."""
REACH = 1
"""Cells around those that are wanted of a part of a photo which count as well."""
PART_HALO = 3
"""The halo of such a part: 96 px, with which log odds of cells that are wanted differ by 0.015 on
average from those of a whole photo (0.2 for one in a hundred), where int8 moves them by 0.26."""
_SQUARE = 8
"""Cells along a side of the squares that parts of a photo are put together from."""
MOST_PIXELS = 4_300_000
"""Pixels of a block at most, with its halo; what the network holds at once."""


@dataclass(frozen=True, slots=True)
class WindowMap:
    """Answers for overlapping square windows of a photo, on a grid of rows and columns.

    Window (r, c) covers the pixels from (`left` + c * `stride`, `top` + r * `stride`) on, `size`
    along each side; those at the photo's border may overhang it.
    """

    log_odds_HW: NDArray[np.float32]
    """Calibrated log odds that the window shows a crack, (rows, columns)."""
    ood_HW: NDArray[np.float32]
    """Out-of-distribution score of the window, (rows, columns)."""
    cells_HW: NDArray[np.float32] | None
    """Local evidence: calibrated log odds that each cell of `stride` x `stride` pixels adds; the
    mean over the (size / stride)^2 cells of a window is the window's. Shape (rows + size / stride
    - 1, columns + size / stride - 1); cell (0, 0) has the same corner as window (0, 0). None where
    windows were judged one by one."""
    size: int
    stride: int
    left: int
    top: int

    @classmethod
    def of_cells(
        cls,
        cells_HW: NDArray[np.float32],
        ood_HW: NDArray[np.float32],
        *,
        left: int,
        top: int,
        size: int = USUAL * STRIDE,
    ) -> Self:
        """The map of windows whose log odds are the means of their cells'."""
        means_HW = window_means(cells_HW, size // STRIDE).astype(np.float32)
        return cls(means_HW, ood_HW, cells_HW, size, STRIDE, left, top)

    @property
    def ood_score(self) -> float:
        """The photo's out-of-distribution score: the median of its windows'."""
        return float(np.median(self.ood_HW))


@dataclass(frozen=True, slots=True)
class Block:
    """A part of a photo that the network looks at in one run, along one axis in cells."""

    start: int
    """First cell that the network sees."""
    begin: int
    """First cell whose answer counts."""
    end: int
    """The cell after the last one whose answer counts."""


@dataclass(frozen=True, slots=True)
class Axis:
    """The cells of a photo along one axis, and the blocks that they are computed in. Cells are
    counted from the first one that belongs to a window."""

    pixels: int
    """Side of the photo."""
    first: int
    """Pixel at which the first cell begins; at most 0."""
    cells: int
    length: int
    """Cells of a block."""
    blocks: tuple[Block, ...]

    def seen(self, block: Block) -> NDArray[np.intp]:
        """The photo's pixels that a block looks at, by their places; beyond the border they are
        those of the reflection, which turns without repeating the outermost pixel."""
        start = self.first + block.start * STRIDE
        places = np.arange(start, start + self.length * STRIDE)
        period = max(2 * (self.pixels - 1), 1)
        places %= period
        return np.minimum(places, period - places) if self.pixels > 1 else np.zeros_like(places)

    def counted(self, block: Block, several: int) -> tuple[slice, slice]:
        """Which of a block's answers for `several` neighbouring cells count, by the middle one of
        them: where the answers belong, and where they lie in the block's output."""
        begin = block.begin - several // 2 if block.begin else 0
        last = block.end == self.cells
        end = max(self.cells - several + 1 if last else block.end - several // 2, begin)
        return slice(begin, end), slice(begin - block.start, end - block.start)


@dataclass(frozen=True, slots=True)
class Plan:
    """How a photo is cut into blocks."""

    rows: Axis
    columns: Axis

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width of every block in pixels."""
        return self.rows.length * STRIDE, self.columns.length * STRIDE

    @property
    def pixels(self) -> int:
        """Pixels of all blocks together."""
        height, width = self.shape
        return height * width * len(self.rows.blocks) * len(self.columns.blocks)

    def counted(self, down: Block, across: Block, several: int) -> tuple[Place, Place]:
        """`Axis.counted` along both axes, for the block of these rows and columns."""
        rows, columns = self.rows.counted(down, several), self.columns.counted(across, several)
        return (rows[0], columns[0]), (rows[1], columns[1])

    def __iter__(self) -> Iterator[tuple[Block, Block]]:
        """Rows and columns of each block."""
        return ((rows, columns) for rows in self.rows.blocks for columns in self.columns.blocks)


@lru_cache(maxsize=64)
def plan_blocks(height: int, width: int, window: int, most: int = MOST_PIXELS) -> Plan:
    """The plan for a photo of this size and windows of `window` px, whose blocks have at most
    `most` pixels (half a million at least) and the fewest together. Raises ValueError for a photo
    without pixels."""
    if min(height, width) < 1:
        raise ValueError(f"{height} x {width} is no size of a photo")
    down, across = (
        max(-(-(pixels + 2 * OVERHANG) // STRIDE), window // STRIDE) for pixels in (height, width)
    )
    plans = (
        Plan(_axis(height, down, rows), _axis(width, across, columns))
        for rows, columns in _numbers(down, across, most // STRIDE**2)
    )
    return min(plans, key=lambda plan: (plan.pixels, len(plan.rows.blocks)))


def _numbers(down: int, across: int, most: int) -> Iterator[tuple[int, int]]:
    """Numbers of rows and columns of blocks with at most `most` cells: for each number of columns,
    the fewest rows."""
    for columns in range(1, _number(across, 4 * HALO) + 1):
        longest = most // _length(across, columns)
        if longest > 2 * HALO:
            yield _number(down, longest), columns


def _number(cells: int, longest: int) -> int:
    """The fewest blocks along an axis that are no longer than that."""
    seen = cells + 2 * OUTER
    return 1 if seen <= longest else -(-(seen - 2 * HALO) // (longest - 2 * HALO))


def _length(cells: int, count: int) -> int:
    return -(-(cells + 2 * OUTER + 2 * HALO * (count - 1)) // count)


@lru_cache(maxsize=256)
def _axis(pixels: int, cells: int, count: int) -> Axis:
    """`count` blocks of equal length that overlap by at least twice the halo; each counts up to
    the middle of the overlap."""
    seen = cells + 2 * OUTER
    length = _length(cells, count)
    starts = [k * (seen - length) // max(count - 1, 1) - OUTER for k in range(count)]
    between = [(this + length + following) // 2 for this, following in pairwise(starts)]
    ends = [*between, cells]
    blocks = tuple(map(Block, starts, [0, *between], ends))
    return Axis(pixels, -((cells * STRIDE - pixels) // 2), cells, length, blocks)


def plan_parts(plan: Plan, wanted_HW: NDArray[np.bool_], most: int = MOST_PIXELS) -> list[Plan]:
    """Parts of a photo, each a plan of one block, whose cells that count cover all `wanted_HW`
    (cells, as of `plan`) with `REACH` cells around; together they have few pixels, with their halo.
    The whole plan where that is no more, or where they would have more."""
    boxes = _boxes(wanted_HW)
    while len(boxes) > 1:
        costs, joint = _costs(boxes, boxes, plan), _costs(boxes[:, None], boxes[None], plan)
        gain = np.where(joint * STRIDE**2 > most, -1, costs[:, None] + costs - joint)
        np.fill_diagonal(gain, -1)
        each, best = np.arange(len(boxes)), gain.argmax(axis=1)
        agreed = (best[best] == each) & (gain[each, best] >= 0)
        if not agreed.any():
            break
        pairs = each[agreed & (each < best)]  # the best pair of all always agrees
        boxes = np.concatenate([boxes[~agreed], _hull(boxes[pairs], boxes[best[pairs]])])
    parts = [
        Plan(_part(plan.rows, int(top), int(bottom)), _part(plan.columns, int(left), int(right)))
        for top, left, bottom, right in boxes
    ]
    sizes = [part.pixels for part in parts]
    return [plan] if sum(sizes) >= plan.pixels or max(sizes, default=0) > most else parts


def _boxes(wanted_HW: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Boxes (top, left, bottom, right) around what is wanted in each square of `_SQUARE` cells."""
    row_K, column_K = np.nonzero(wanted_HW)
    squares = np.unique(np.stack([row_K // _SQUARE, column_K // _SQUARE]), axis=1).T
    found = []
    for square in squares:
        is_in_K = (row_K // _SQUARE == square[0]) & (column_K // _SQUARE == square[1])
        rows, columns = row_K[is_in_K], column_K[is_in_K]
        found.append((rows.min(), columns.min(), rows.max() + 1, columns.max() + 1))
    inner = np.array(found, np.int64).reshape(-1, 4)
    return np.asarray(inner + np.array([-REACH, -REACH, REACH, REACH]), np.int64)


def _hull(one: NDArray[np.int64], other: NDArray[np.int64]) -> NDArray[np.int64]:
    low = np.minimum(one[..., :2], other[..., :2])
    return np.concatenate([low, np.maximum(one[..., 2:], other[..., 2:])], axis=-1)


def _costs(one: NDArray[np.int64], other: NDArray[np.int64], plan: Plan) -> NDArray[np.int64]:
    """Cells that the network sees for the boxes around pairs of boxes."""
    box = _hull(one, other)
    ends = np.array([plan.rows.cells, plan.columns.cells]) + OUTER
    begin, end = box[..., :2] - PART_HALO, box[..., 2:] + PART_HALO
    sides = np.minimum(end, ends) - np.maximum(begin, -OUTER)
    return np.asarray(sides.prod(axis=-1))


def _part(axis: Axis, begin: int, end: int) -> Axis:
    """The same axis with one block, whose answers count from `begin` to `end`, or to a border that
    is near."""
    begin = 0 if begin < PART_HALO else begin
    end = axis.cells if end > axis.cells - PART_HALO else end
    start, stop = max(begin - PART_HALO, -OUTER), min(end + PART_HALO, axis.cells + OUTER)
    return replace(axis, length=stop - start, blocks=(Block(start, begin, end),))


def window_means(cells_HW: NDArray[np.floating[Any]], window: int = USUAL) -> NDArray[np.float64]:
    """The mean over the `window` x `window` cells of each window: (rows, columns) of cells -> of
    windows."""
    sums = np.zeros((cells_HW.shape[0] + 1, cells_HW.shape[1] + 1))
    sums[1:, 1:] = cells_HW.cumsum(axis=0, dtype=np.float64).cumsum(axis=1)
    rows = sums[window:] - sums[:-window]
    return np.asarray((rows[:, window:] - rows[:, :-window]) / window**2)


def pushed_into(sides: tuple[int, ...], x: int, y: int, size: int) -> tuple[int, int]:
    """The corner of a square of `size` pixels along each side, at (x, y), once it is pushed into a
    photo of `sides` (height, width) as far as it fits."""
    height, width = sides
    return max(0, min(x, width - size)), max(0, min(y, height - size))
