"""Windows of a photo that is judged at its own scale: where they lie, what was found in them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


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
