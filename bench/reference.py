"""The right answers: the weights in eager torch, at full resolution, on pixels from the project's
own decoder."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np

from bench.checks import Answer, Answers
from inspector.bundle import verdict_of
from inspector.data.loader import load_batches
from inspector.judge import MAX_CLEAR_SHRINK
from inspector.scan.schema import display_path
from inspector.types import Photo, Verdict

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from inspector.backends import Backend
    from inspector.bundle import Thresholds
    from inspector.preprocess import PreprocessSpec
    from inspector.types import ImageRef

FULL_SIZE = 1e6
"""A decode margin at which no JPEG is ever decoded smaller than it is stored."""
_BATCH = 32


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
        self._known: dict[bytes, float] = {}
        """Probabilities by the pixels' hash: most files look the same at full size."""

    def answers(self, refs: Sequence[ImageRef], spec: PreprocessSpec) -> Answers:
        """Probability and verdict of every file; the table's own rule for large photos applies."""
        answers: Answers = {}
        for batch in load_batches(refs, spec, batch_size=_BATCH, workers=0):
            photos = zip(batch.pixels_NHWC, self._probabilities(batch.pixels_NHWC), strict=True)
            for item in batch.items:
                path = display_path(item.ref.path)
                if not isinstance(item, Photo):
                    answers[path] = Answer(None)
                    continue
                pixels_HWC, p_crack = next(photos)
                if item.ref.path in self._keep:
                    self._keep.remove(item.ref.path)
                    self.kept[path] = pixels_HWC
                answers[path] = Answer(p_crack, self._verdict(p_crack, item.shrink))
        return answers

    def _probabilities(self, pixels_NHWC: NDArray[np.uint8]) -> list[float]:
        hashes = [hashlib.sha256(pixels_HWC).digest() for pixels_HWC in pixels_NHWC]
        new = [k for k, known in enumerate(hashes) if known not in self._known]
        if new:
            found_K = self._eager.run(pixels_NHWC[new]).p_crack_N
            self._known.update((hashes[k], float(p)) for k, p in zip(new, found_K, strict=True))
        return [self._known[known] for known in hashes]

    def _verdict(self, p_crack: float, shrink: float) -> str:
        verdict = verdict_of(p_crack, self._thresholds)
        if verdict is Verdict.CLEAR and shrink > MAX_CLEAR_SHRINK:
            return Verdict.REVIEW.value
        return verdict.value
