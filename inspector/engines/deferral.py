"""Engines in a row, cheap ones first: each answers what it is sure of and defers the rest."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from inspector.engines.contract import check_pixels
from inspector.model.odds import shifted
from inspector.types import Scores

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from inspector.engines import Backend
    from inspector.model.bundle import Thresholds

DEFERRED = "deferred"
"""Key of a gate's evidence: the share of its images that were deferred to the next stage."""


@dataclass(frozen=True, slots=True)
class UncertaintyBand:
    """Answers that are not final.

    `spans` are half-open intervals of probabilities, [low, high), closed at 1; `ood` is one such
    interval of out-of-distribution scores. An answer inside any of them is deferred.
    """

    spans: tuple[tuple[float, float], ...] = ()
    ood: tuple[float, float] = (math.inf, math.inf)

    @classmethod
    def around(cls, thresholds: Thresholds, margin: float, ood_margin: float) -> UncertaintyBand:
        """The band of answers that a small error could move across a threshold.

        Args:
            thresholds: Those of the verdict rule.
            margin: Distance to a threshold's logit, in logits, within which a probability lies.
            ood_margin: Distance to the out-of-distribution threshold, in units of the score.
        """
        edges = {thresholds.clear_below, thresholds.crack_from}
        spans = tuple((shifted(t, -margin), shifted(t, margin)) for t in sorted(edges))
        limit = thresholds.out_of_distribution
        return cls(spans) if limit is None else cls(spans, (limit - ood_margin, limit + ood_margin))

    def contains(self, scores: Scores) -> NDArray[np.bool_]:
        """Whether each of N answers must be deferred; one that is not a number always is."""
        p_N, ood_N = scores.p_crack_N, scores.ood_N
        low, high = self.ood
        inside_N = ~np.isfinite(p_N) | ~np.isfinite(ood_N) | ((ood_N >= low) & (ood_N < high))
        for low, high in self.spans:
            inside_N |= (p_N >= low) & ((p_N < high) | (high >= 1))
        return inside_N


@dataclass(frozen=True, slots=True)
class Stage:
    """An engine, and the answers that it must leave to the next stage."""

    engine: Backend
    band: UncertaintyBand


class DeferringBackend:
    """Stages as one backend. The last stage answers all that reaches it.

    Each image has all its answers from one stage; `Scores.stage_N` says from which.
    Closes its engines.
    """

    def __init__(self, stages: Sequence[Stage], size: int) -> None:
        """`size` is the side of the model's square input in pixels, the same for all stages."""
        assert stages and not stages[-1].band.spans, "the last stage answers everything"
        self._stages = tuple(stages)
        self._size = size
        engines = [stage.engine for stage in stages]
        self.name = engines[-1].name
        self.device = engines[-1].device
        self.providers = engines[-1].providers
        self.why = engines[-1].why
        self.stages: tuple[str, ...] = tuple(name for e in engines for name in e.stages)

    @property
    def notes(self) -> tuple[str, ...]:
        return tuple(note for stage in self._stages for note in stage.engine.notes)

    def run(self, pixels_NHWC: NDArray[np.uint8]) -> Scores:
        """Scores of N >= 1 images, uint8 (N, size, size, 3). Raises BackendError."""
        check_pixels(pixels_NHWC, self._size)
        count = len(pixels_NHWC)
        p_N, ood_N = np.empty(count, np.float32), np.empty(count, np.float32)
        stage_N = np.empty(count, np.uint8)
        cam_N = np.empty(count, object)  # stages may have activation maps of different grids
        open_K = np.arange(count)
        for number, stage in enumerate(self._stages):
            everything = len(open_K) == count
            scores = stage.engine.run(pixels_NHWC if everything else pixels_NHWC[open_K])
            p_N[open_K], ood_N[open_K] = scores.p_crack_N, scores.ood_N
            stage_N[open_K] = number
            for k, cam_HW in zip(open_K, scores.cam_NHW, strict=True):
                cam_N[k] = cam_HW
            open_K = open_K[stage.band.contains(scores)]
            if not len(open_K):
                break
        return Scores(p_N, cam_N, ood_N, stage_N)

    def close(self) -> None:
        """Give back memory and threads; the backend cannot run afterwards."""
        for stage in self._stages:
            stage.engine.close()
