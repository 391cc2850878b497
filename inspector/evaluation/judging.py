"""A model asked about every labelled image, decoded as a scan decodes it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from inspector.evaluation.judged import JudgedImages, Unjudged
from inspector.model.verdict import decide
from inspector.predict import predict

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from inspector.engines import Backend
    from inspector.labelled.folder import LabelledImage
    from inspector.model.bundle import ModelBundle


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
    found = predict(images, bundle, backend, batch_size=batch_size, workers=workers, progress=watch)
    scores, photos = found.scores, found.photos
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
        unjudged=tuple(Unjudged(images[f.ref.index], f.code) for f in found.failures),
        provider=backend.providers[0],
    )
