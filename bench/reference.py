"""The right answers: the weights in eager torch, at full resolution, on pixels from the project's
own decoder."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np

from bench.checks import Answer, Answers
from inspector.core.text import display_path
from inspector.engines.contract import joined
from inspector.model.verdict import decide
from inspector.predict import predict_batches
from inspector.types import Photo, Scores

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from inspector.engines import Backend
    from inspector.model.bundle import Thresholds
    from inspector.model.preprocess import PreprocessSpec
    from inspector.types import ImageRef

FULL_SIZE = 1e6
"""A decode margin at which no JPEG is ever decoded smaller than it is stored."""


class Judge:
    """Judges files with the reference, and keeps the pixels of some of them.

    `keep`: files whose pixels of the first pass are kept.
    """

    def __init__(
        self, eager: Backend, thresholds: Thresholds, *, keep: Sequence[ImageRef] = ()
    ) -> None:
        self._eager = eager
        self._thresholds = thresholds
        self._keep = {ref.path for ref in keep}
        self.kept: dict[str, NDArray[np.uint8]] = {}
        """uint8 (size, size, 3) by path, in the listing's order."""
        self._known: dict[bytes, Scores] = {}
        """Of one image each, by the pixels' hash: most files look the same at full size."""

    def answers(self, refs: Sequence[ImageRef], spec: PreprocessSpec) -> Answers:
        """Probability and verdict of every file, by the scan's own rules for verdicts."""
        answers: Answers = {}
        for batch, scores in predict_batches(refs, spec, self._scores, workers=0):
            photos = [item for item in batch.items if isinstance(item, Photo)]
            found = zip(photos, batch.pixels_NHWC, self._judge(scores, photos), strict=True)
            answers |= {display_path(item.ref.path): Answer(None) for item in batch.items}
            for photo, pixels_HWC, answer in found:
                answers[display_path(photo.ref.path)] = answer
                if photo.ref.path in self._keep:
                    self._keep.remove(photo.ref.path)
                    self.kept[display_path(photo.ref.path)] = pixels_HWC
        return answers

    def _judge(self, scores: Scores | None, photos: Sequence[Photo]) -> list[Answer]:
        if scores is None:
            return []
        shrink_N = np.array([photo.shrink for photo in photos])
        verdict_N, _ = decide(
            scores.p_crack_N, self._thresholds, ood_N=scores.ood_N, shrink_N=shrink_N
        )
        return [
            Answer(float(p), str(verdict))
            for p, verdict in zip(scores.p_crack_N, verdict_N, strict=True)
        ]

    def _scores(self, pixels_NHWC: NDArray[np.uint8]) -> Scores:
        hashes = [hashlib.sha256(pixels_HWC).digest() for pixels_HWC in pixels_NHWC]
        new = [k for k, known in enumerate(hashes) if known not in self._known]
        if new:
            found = self._eager.run(pixels_NHWC[new])
            for place, k in enumerate(new):
                one = slice(place, place + 1)
                self._known[hashes[k]] = Scores(
                    found.p_crack_N[one], found.cam_NHW[one], found.ood_N[one]
                )
        return joined([self._known[known] for known in hashes])
