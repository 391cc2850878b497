"""What an engine answered in the measured runs, against the right answers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bench.checks import Answer, Answers, Rule, examine
from bench.report import finite
from inspector.backends.agreement import CAM_TOLERANCE

if TYPE_CHECKING:
    from bench.pool import Pool
    from inspector.bundle import Thresholds
    from inspector.types import JsonObject, Scores


class EngineAnswers:
    """Keeps, of every image, the answer furthest from the right one."""

    def __init__(self, pool: Pool, thresholds: Thresholds, rule: Rule) -> None:
        self._pool = pool
        self._thresholds = thresholds
        self._rule = rule
        self._furthest: dict[int, float] = {}
        self._cam_difference = 0.0

    def add(self, place: slice, scores: Scores) -> None:
        """One run's answers to the pool's images at `place`."""
        right = self._pool.expected
        for k, p in zip(range(place.start, place.stop), scores.p_crack_N, strict=True):
            known = self._furthest.get(k)
            expected = float(right.p_crack_N[k])
            if known is None or not abs(float(p) - expected) <= abs(known - expected):
                self._furthest[k] = float(p)
        if self._rule is Rule.PROBABILITIES:
            gap = np.abs(scores.cam_NHW - right.cam_NHW[place])
            largest = float(np.nan_to_num(gap, nan=np.inf).max())
            self._cam_difference = max(self._cam_difference, largest)

    def report(self) -> tuple[JsonObject, str]:
        """Figures, and one sentence on what is wrong or nothing."""
        right = self._pool.expected
        expected: Answers = {str(k): Answer(float(right.p_crack_N[k])) for k in self._furthest}
        found = {str(k): Answer(p) for k, p in self._furthest.items()}
        mistakes = self._pool.mistakes
        outcome = examine(expected, found, len(found), self._rule, self._thresholds, mistakes)
        cam_difference = self._cam_difference / (float(np.abs(right.cam_NHW).max()) or 1.0)
        trouble = outcome.trouble
        if not trouble and cam_difference > CAM_TOLERANCE:
            trouble = f"activation maps are wrong by up to {cam_difference:.2g} of their magnitude"
        figures = {
            "rule": self._rule.value,
            "images": outcome.images,
            "largest_difference": finite(outcome.largest_difference),
            "largest_cam_difference": finite(cam_difference),
            "other": outcome.other_verdicts,
            "cracks_called_clear": outcome.missed_cracks,
        }
        return figures, trouble
