"""When a window of a scene counts as cracked, as clear, or as neither.

A truth map marks each pixel CLEAR, CRACK or UNCLEAR. A window is cracked if enough crack pixels
lie in it, away from its border; clear if none lies in it or close to it; else nobody can say, and
it teaches nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bench.studies.photos.sources import CrackPixels

if TYPE_CHECKING:
    from numpy.typing import NDArray

CLEAR, CRACK, UNCLEAR = 0, 1, 2
"""Values of a truth map; UNCLEAR: a crack too faint to ask for, or one whose place is not known."""
WINDOW, STRIDE = 224, 32
"""A window of 7 x 7 cells of the last feature map, and the step between two of them, in pixels."""
MARGIN = 16
"""Cracks so near to a window's border, on either side, do not decide."""
LEAST_CRACK = 80
"""Crack pixels within the margin that make a window cracked: a hairline of some 60 px."""
IGNORED = -1
"""Label of a window that teaches nothing (as `cross_entropy`'s `ignore_index`)."""


def window_labels(truth_HW: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Labels (n, m) of all windows at `STRIDE`: 1 crack, 0 clear, or IGNORED. Sides of the truth
    map are at least WINDOW."""
    cracks, doubts = (CrackPixels(truth_HW == value) for value in (CRACK, UNCLEAR))
    top, left = (np.arange(0, side - WINDOW + 1, STRIDE) for side in truth_HW.shape)
    top, left = top[:, None], left[None, :]

    def count(pixels: CrackPixels, margin: int) -> NDArray[np.int64]:
        first, last = -margin, WINDOW + margin
        found: NDArray[np.int64] = pixels(left + first, top + first, left + last, top + last)
        return found

    clear = (count(cracks, MARGIN) == 0) & (count(doubts, 0) == 0)
    cracked = count(cracks, -MARGIN) >= LEAST_CRACK
    return np.where(cracked, 1, np.where(clear, 0, IGNORED))
