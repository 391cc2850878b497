"""A look at a few of the photos before a scan of them is decided about."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

import numpy as np

from inspector.engines.combined import chain
from inspector.engines.photo import choose_views
from inspector.model.bundle import NARROW
from inspector.photos.object_file import is_far
from inspector.scanning.plan import is_native
from inspector.workers.loader import load_batches

if TYPE_CHECKING:
    from collections.abc import Sequence

    from inspector.engines import Backend
    from inspector.model.bundle import ModelBundle
    from inspector.scanning.config import ScanConfig
    from inspector.types import ImageRef

SAMPLE = 24
"""Photos that are looked at."""
WORTH_IT = 50
"""Photos for each of them from which the look costs little."""


def share_deferred(
    config: ScanConfig, bundle: ModelBundle, waiting: Sequence[ImageRef], engine: Backend
) -> float | None:
    """The share of the photos that are judged whole which a narrow network, `engine`, would leave
    to the model, by a sample of those that wait; None where too few do, or they are far away.
    Raises LoaderError, BackendError."""
    views = choose_views(config.view, bundle)
    near = [ref for ref in waiting if not (is_far(ref.path) or is_native(ref, views))]
    if len(near) < WORTH_IT * SAMPLE:
        return None
    some = [near[k * len(near) // SAMPLE] for k in range(SAMPLE)]
    band = chain(bundle, NARROW, config.thresholds(bundle.thresholds))[NARROW]
    with closing(
        load_batches(
            some, bundle.preprocess, batch_size=SAMPLE, workers=1, views=views, limits=config.limits
        )
    ) as batches:
        whole = [batch.pixels_NHWC for batch in batches if len(batch.pixels_NHWC)]
    deferred = [band.contains(engine.run(pixels_NHWC)) for pixels_NHWC in whole]
    return float(np.concatenate(deferred).mean()) if deferred else None
