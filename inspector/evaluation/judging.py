"""A model asked about every labelled image, decoded as a scan decodes it."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

import numpy as np

from inspector.engines.contract import joined
from inspector.errors import DataError
from inspector.evaluation.judged import JudgedImages, Unjudged
from inspector.model.verdict import decide
from inspector.types import Failure, ImageRef, Photo
from inspector.workers.loader import load_batches

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from inspector.engines import Backend
    from inspector.labelled.folder import LabelledImage
    from inspector.model.bundle import ModelBundle
    from inspector.types import Batch, Scores


def judge_images(
    images: Sequence[LabelledImage],
    bundle: ModelBundle,
    backend: Backend,
    *,
    batch_size: int = 32,
    workers: int = 1,
    watch: Callable[[int, int], None] | None = None,
) -> JudgedImages:
    """Answers by `backend`, verdicts by the bundle's thresholds; `watch` hears how many images are
    done, of how many. Raises DataError when none can be decoded, BackendError, LoaderError."""
    refs = [ImageRef(k, image.path, "", None, None) for k, image in enumerate(images)]
    batches = load_batches(refs, bundle.preprocess, batch_size=batch_size, workers=workers)
    answers: list[Scores] = []
    photos: list[Photo] = []
    unjudged: list[Unjudged] = []
    with closing(batches):
        for batch in batches:
            found, failed = _sorted_out(batch)
            unjudged += [Unjudged(images[item.ref.index], item.code) for item in failed]
            if found:
                answers.append(backend.run(batch.pixels_NHWC))
                photos += found
            if watch:
                watch(len(photos) + len(unjudged), len(images))
    if not photos:
        raise DataError(f"none of the {len(images)} labelled images could be decoded")
    scores = joined(answers)
    shrink_N = np.array([photo.shrink for photo in photos])
    verdict_N, reason_N = decide(
        scores.p_crack_N, bundle.thresholds, ood_N=scores.ood_N, shrink_N=shrink_N
    )
    return JudgedImages(
        images=tuple(images[photo.ref.index] for photo in photos),
        p_crack_N=scores.p_crack_N,
        verdict_N=verdict_N,
        reason_N=reason_N,
        cam_NHW=scores.cam_NHW,
        ood_N=None if bundle.thresholds.out_of_distribution is None else scores.ood_N,
        unjudged=tuple(unjudged),
        provider=backend.providers[0],
    )


def _sorted_out(batch: Batch) -> tuple[list[Photo], list[Failure]]:
    photos = [item for item in batch.items if isinstance(item, Photo)]
    return photos, [item for item in batch.items if isinstance(item, Failure)]
