"""Windows of a photo that is judged at its own scale: where they lie, and what was found in them.

A photo is covered by square cells of `STRIDE` px, a little beyond its borders, where it is
continued by its reflection; a window is `CELLS` x `CELLS` of them, one at every cell. The network
looks at it in blocks of one shape, which overlap, so that no cell that counts lies near a block's
border: there the network pads with zeros. Blocks follow from the photo's size alone, so a photo's
answers do not depend on what is judged beside it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

STRIDE = 32
"""Pixels from window to window: the stride of the network's last features."""
CELLS = 7
"""Cells along a side of a window."""
SIZE = CELLS * STRIDE
"""Pixels along a side of a window."""
OVERHANG = 48
"""Pixels by which windows lie over the photo's borders, at least, and at most half a cell more: a
pixel at the border then lies in two or three windows along each axis."""
OUTER = 2
"""Cells between the outermost windows and the border of what the network sees. With the overhang
they keep the photo itself four cells away from it."""
HALO = 4
"""Cells between a cell that counts and the border of its block, within the photo: 128 px, with
which no window's log odds differed by more than 0.005 from those of one pass over a whole photo."""
MOST_PIXELS = 4_000_000
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

    @property
    def windows(self) -> int:
        return self.cells - CELLS + 1

    def seen(self, block: Block) -> NDArray[np.intp]:
        """The photo's pixels that a block looks at, by their places; beyond the border they are
        those of the reflection, which turns without repeating the outermost pixel."""
        start = self.first + block.start * STRIDE
        places = np.arange(start, start + self.length * STRIDE)
        period = max(2 * (self.pixels - 1), 1)
        places %= period
        return np.minimum(places, period - places) if self.pixels > 1 else np.zeros_like(places)

    def counted(self, block: Block, reach: int) -> tuple[slice, slice]:
        """Which of a block's answers count: where they belong, and where they lie in its output.
        `reach` is 0 for answers of cells; for those of squares of 2 `reach` + 1 cells the middle
        cell tells."""
        begin = max(block.begin - reach, 0)
        end = min(block.end - reach, self.cells - 2 * reach)
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

    def __iter__(self) -> Iterator[tuple[Block, Block]]:
        """Rows and columns of each block."""
        return ((rows, columns) for rows in self.rows.blocks for columns in self.columns.blocks)


@lru_cache(maxsize=64)
def plan_blocks(height: int, width: int, most: int = MOST_PIXELS) -> Plan:
    """The plan for a photo of this size whose blocks have at most `most` pixels (the least there
    can be is about 0.2 million) and the fewest together. Raises ValueError for a photo without
    pixels."""
    if min(height, width) < 1:
        raise ValueError(f"{height} x {width} is no size of a photo")
    return min(
        (Plan(rows, columns) for rows, columns in _within(height, width, most)),
        key=lambda plan: (plan.pixels, len(plan.rows.blocks) * len(plan.columns.blocks)),
    )


def _within(height: int, width: int, most: int) -> Iterator[tuple[Axis, Axis]]:
    """For each number of columns of blocks, the fewest rows with which they are small enough."""
    for across in range(1, _most_blocks(width) + 1):
        columns = _axis(width, across)
        length = most // (columns.length * STRIDE * STRIDE)
        if length <= 2 * HALO + 1:
            continue
        seen = _cells(height) + 2 * OUTER
        down = 1 if seen <= length else -(-(seen - 2 * HALO) // (length - 2 * HALO))
        yield _axis(height, down), columns


def _cells(pixels: int) -> int:
    return max(-(-(pixels + 2 * OVERHANG) // STRIDE), CELLS)


def _most_blocks(pixels: int) -> int:
    """Blocks along an axis at most: with more, a block would be more halo than photo."""
    return max((_cells(pixels) + 2 * OUTER - 2 * HALO) // (2 * HALO), 1)


@lru_cache(maxsize=256)
def _axis(pixels: int, count: int) -> Axis:
    """`count` blocks of equal length that overlap by at least twice the halo; each counts up to
    the middle of the overlap."""
    cells = _cells(pixels)
    seen = cells + 2 * OUTER
    length = -(-(seen + 2 * HALO * (count - 1)) // count)
    starts = [k * (seen - length) // max(count - 1, 1) - OUTER for k in range(count)]
    between = [(this + length + following) // 2 for this, following in pairwise(starts)]
    ends = [*between, cells]
    blocks = tuple(map(Block, starts, [0, *between], ends))
    return Axis(pixels, -((cells * STRIDE - pixels) // 2), cells, length, blocks)


def window_means(cells_HW: NDArray[np.floating]) -> NDArray[np.float64]:
    """The mean over the cells of each window: (rows, columns) of cells -> of windows."""
    sums = np.zeros((cells_HW.shape[0] + 1, cells_HW.shape[1] + 1))
    sums[1:, 1:] = cells_HW.cumsum(axis=0, dtype=np.float64).cumsum(axis=1)
    rows = sums[CELLS:] - sums[:-CELLS]
    return (rows[:, CELLS:] - rows[:, :-CELLS]) / CELLS**2
