"""Engines in a row, cheap ones first: each decides what is beyond doubt and hands on the rest."""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from inspector.core.machine import usable_cores
from inspector.engines.contract import check_pixels
from inspector.model.preprocess import shrink
from inspector.types import Scores

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from inspector.engines import Backend
    from inspector.model.bundle import Cascade, Thresholds


@dataclass(frozen=True, slots=True)
class Doubt:
    """The answers that are not final: probabilities from the first to below the second number of
    any of `spans` (up to 1 itself where the second is 1), and OOD scores from the first
    to below the second number of `foreign`."""

    spans: tuple[tuple[float, float], ...] = ()
    foreign: tuple[float, float] = (math.inf, math.inf)

    @classmethod
    def between(cls, cascade: Cascade) -> Doubt:
        """What a cascade's first stage leaves open."""
        return cls(((cascade.clear_below, cascade.crack_from),), (cascade.familiar_below, math.inf))

    @classmethod
    def around(cls, thresholds: Thresholds, margin: float, ood_margin: float) -> Doubt:
        """Probabilities whose logit is within `margin` of a threshold's, and OOD scores
        within `ood_margin` of theirs."""
        edges = {thresholds.clear_below, thresholds.crack_from}
        spans = tuple((_moved(t, -margin), _moved(t, margin)) for t in sorted(edges))
        if thresholds.out_of_distribution is None:
            return cls(spans)
        limit = thresholds.out_of_distribution
        return cls(spans, (limit - ood_margin, limit + ood_margin))

    def about(self, scores: Scores) -> NDArray[np.bool_]:
        """Whether each of N answers is in doubt; one that is no number is."""
        p_N, ood_N = scores.p_crack_N, scores.ood_N
        nearest, farthest = self.foreign
        doubtful_N = ~np.isfinite(p_N) | ~np.isfinite(ood_N)
        doubtful_N |= (ood_N >= nearest) & (ood_N < farthest)
        for low, high in self.spans:
            doubtful_N |= (p_N >= low) & ((p_N < high) | (high >= 1))
        return doubtful_N


def _moved(probability: float, logits: float) -> float:
    """The probability so many logits away; 0 and 1 have none and stay."""
    if not 0 < probability < 1:
        return probability
    return 1 / (1 + math.exp(-(math.log(probability / (1 - probability)) + logits)))


@dataclass(frozen=True, slots=True)
class Stage:
    """One engine, the side of its square input in pixels, and what it must not decide."""

    engine: Backend
    size: int
    doubt: Doubt


class CascadeBackend:
    """Stages as one backend. The last one must have no doubt: it decides what reaches it.

    `Scores.stage_N` says which stage decided; its other answers are that stage's too.
    Closes its engines.
    """

    def __init__(self, stages: Sequence[Stage], *, threads: int | None = None) -> None:
        assert stages and not stages[-1].doubt.spans, "the last stage decides everything"
        self._stages = tuple(stages)
        self._size = stages[-1].size
        engines = [stage.engine for stage in stages]
        self.name = engines[-1].name
        self.device = engines[-1].device
        self.providers = engines[-1].providers
        self.why = engines[-1].why
        self.stages: tuple[str, ...] = tuple(name for e in engines for name in e.stages)
        self._shrinkers = ThreadPoolExecutor(threads or usable_cores(), "inspector-shrink")

    @property
    def notes(self) -> tuple[str, ...]:
        return tuple(note for stage in self._stages for note in stage.engine.notes)

    def run(self, pixels_NHWC: NDArray[np.uint8]) -> Scores:
        """Judge N >= 1 images, uint8 (N, size, size, 3). Raises BackendError."""
        check_pixels(pixels_NHWC, self._size)
        count = len(pixels_NHWC)
        p_N, ood_N = np.empty(count, np.float32), np.empty(count, np.float32)
        stage_N = np.empty(count, np.uint8)
        # Each map on the grid of its own stage: on a common one, where it peaks would depend on
        # which other images are in the batch.
        cam_N = np.empty(count, object)
        open_K = np.arange(count)
        for number, stage in enumerate(self._stages):
            scores = stage.engine.run(self._seen_by(stage, pixels_NHWC, open_K))
            p_N[open_K], ood_N[open_K] = scores.p_crack_N, scores.ood_N
            stage_N[open_K] = number
            for k, cam_HW in zip(open_K, scores.cam_NHW, strict=True):
                cam_N[k] = cam_HW
            open_K = open_K[stage.doubt.about(scores)]
            if not len(open_K):
                break
        return Scores(p_N, cam_N, ood_N, stage_N)

    def close(self) -> None:
        """Give back memory and threads; the backend cannot run afterwards."""
        self._shrinkers.shutdown()
        for stage in self._stages:
            stage.engine.close()

    def _seen_by(
        self, stage: Stage, pixels_NHWC: NDArray[np.uint8], open_K: NDArray[np.int64]
    ) -> NDArray[np.uint8]:
        """The images still open, at the stage's resolution."""
        if stage.size == self._size:
            everything = len(open_K) == len(pixels_NHWC)
            return pixels_NHWC if everything else pixels_NHWC[open_K]
        small_KHWC = np.empty((len(open_K), stage.size, stage.size, 3), np.uint8)

        def fill(place: int) -> None:
            small_KHWC[place] = shrink(pixels_NHWC[open_K[place]], stage.size)

        # Pillow works outside Python's lock, so threads share the work.
        list(self._shrinkers.map(fill, range(len(open_K))))
        return small_KHWC
