"""Photos at their own scale in two stages: a narrow network looks at all of a photo, and the model
at those parts of it that are not beyond doubt then."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

import numpy as np

from inspector.engines.combined import FAMILIAR
from inspector.engines.contract import VARIANTS
from inspector.model.bundle import NARROW
from inspector.model.evidence import PhotoRule
from inspector.types import View

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from inspector.engines.dense import DenseEngine
    from inspector.model.bundle import DenseView, ModelBundle
    from inspector.model.windows import WindowMap


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
        self,
        narrow: DenseEngine,
        full: DenseEngine,
        dense: DenseView,
        margins: tuple[float, float],
    ) -> None:
        """`margins` are the narrow variant's, as in `doubtful`."""
        self._narrow, self._full = narrow, full
        self._dense, self._margins = dense, margins
        self.stage = full.stage

    @property
    def notes(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys((*self._narrow.notes, *self._full.notes)))

    def run(self, pixels_HWC: NDArray[np.uint8]) -> WindowMap:
        """Judge every window of a photo, upright uint8 (H, W, 3). Raises BackendError."""
        first = self._narrow.run(pixels_HWC)
        return self._full.run(pixels_HWC, first, doubtful(first, self._dense, *self._margins))

    def close(self) -> None:
        """Give back memory and threads; the engine cannot run afterwards."""
        self._narrow.close()
        self._full.close()


def doubtful(
    found: WindowMap, dense: DenseView, margin: float, ood_margin: float
) -> NDArray[np.bool_]:
    """The cells of a photo that a narrow network may not settle, (rows, columns): those within
    `margin` log odds of what seeds a candidate, the middle ones of windows that are within
    `ood_margin` of the out-of-distribution threshold or beyond it, and always the one with most
    evidence."""
    assert found.cells_HW is not None
    limit = dense.thresholds.out_of_distribution or FAMILIAR
    doubtful_HW = found.cells_HW >= PhotoRule.from_json(dense.photo).seed - margin
    rows, columns = found.ood_HW.shape
    half = found.size // found.stride // 2
    doubtful_HW[half : half + rows, half : half + columns] |= found.ood_HW >= limit - ood_margin
    doubtful_HW[np.unravel_index(int(found.cells_HW.argmax()), doubtful_HW.shape)] = True
    return np.asarray(doubtful_HW)
