"""Photos at their own scale in two stages: a narrow network looks at all of a photo, and the model
at those parts of it that may show a crack, or at all of it where it is not clear enough then."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

import numpy as np

from inspector.engines.combined import FAMILIAR
from inspector.engines.contract import VARIANTS
from inspector.model.bundle import NARROW
from inspector.model.evidence import MOST_TILES, PhotoRule, find_candidates, judge_photo
from inspector.model.verdict import log_odds
from inspector.types import View

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from inspector.engines.dense import DenseEngine
    from inspector.model.bundle import DenseView, ModelBundle
    from inspector.model.windows import WindowMap


_TILES_TAKE = 1.0
"""Log odds by which the exact tiles of a photo often lower what its windows say."""


def open_screened(
    bundle: ModelBundle, open_one: Callable[..., DenseEngine], precision: str
) -> ScreenedEngine:
    """The dense variant of `precision` behind the narrow one, each opened by `open_one`, as
    `open_dense` opens it. Raises BackendError, BundleError."""
    assert bundle.dense is not None
    variant = bundle.variant(VARIANTS, NARROW, View.DENSE)
    margins = variant.margin, variant.ood_margin
    with ExitStack() as on_error:
        narrow = open_one(precision=NARROW)
        on_error.callback(narrow.close)
        engine = ScreenedEngine(narrow, open_one(precision=precision), bundle.dense, margins)
        on_error.pop_all()
    return engine


class ScreenedEngine:
    """A narrow dense engine before a full one. Closes both."""

    def __init__(
        self, narrow: DenseEngine, full: DenseEngine, dense: DenseView, margins: tuple[float, float]
    ) -> None:
        """`margins` are the narrow variant's: those of `is_nearly_clear` and `doubtful`."""
        self._narrow, self._full = narrow, full
        self._dense, self._margins = dense, margins
        self.stage = full.stage

    @property
    def notes(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys((*self._narrow.notes, *self._full.notes)))

    def run(self, pixels_HWC: NDArray[np.uint8]) -> WindowMap:
        """Judge every window of a photo, upright uint8 (H, W, 3). Raises BackendError."""
        margin, ood_margin = self._margins
        first = self._narrow.run(pixels_HWC)
        found = self._full.run(pixels_HWC, first, doubtful(first, self._dense, ood_margin))
        assert first.cells_HW is not None and found.cells_HW is not None
        in_parts = (first.cells_HW == found.cells_HW).any()
        if in_parts and is_nearly_clear(found, pixels_HWC.shape[:2], self._dense, margin):
            return self._full.run(pixels_HWC)
        return found

    def close(self) -> None:
        """Give back memory and threads; the engine cannot run afterwards."""
        self._narrow.close()
        self._full.close()


def doubtful(found: WindowMap, dense: DenseView, ood_margin: float) -> NDArray[np.bool_]:
    """The cells of a photo that a narrow network may not settle, (rows, columns): those with
    as much evidence as seeds a candidate, and always the one with most; all of them where the
    photo's out-of-distribution score is within `ood_margin` of the threshold or beyond it."""
    assert found.cells_HW is not None
    limit = dense.thresholds.out_of_distribution or FAMILIAR
    if found.ood_score >= limit - ood_margin:
        return np.ones_like(found.cells_HW, np.bool_)
    doubtful_HW = found.cells_HW >= PhotoRule.from_json(dense.photo).seed
    doubtful_HW[np.unravel_index(int(found.cells_HW.argmax()), doubtful_HW.shape)] = True
    return np.asarray(doubtful_HW)


def is_nearly_clear(
    found: WindowMap, sides: tuple[int, int], dense: DenseView, margin: float
) -> bool:
    """Whether a photo of `sides` (height, width) may turn out clear, but not beyond doubt: by its
    windows, which stand for exact tiles at its candidates, it is clear by less than `margin` log
    odds, or not clear by less than tiles often take from that."""
    candidates = find_candidates(found, sides, dense)
    tiles = [candidate.features["window"] for candidate in candidates[:MOST_TILES]]
    p_crack = judge_photo(found, candidates, tiles, sides, dense, ("",)).p_crack
    below = log_odds(dense.thresholds.clear_below) - log_odds(p_crack)
    return bool(-_TILES_TAKE < below <= margin)
