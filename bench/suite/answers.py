"""What an engine answered in the measured runs, against the right answers."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from bench.checks import Answer, Outcome, Rule, examine
from inspector.engines.parity import CAM_TOLERANCE

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from bench.suite.pixels import Pool
    from inspector.model.bundle import Thresholds
    from inspector.types import JsonObject, Scores


@dataclass(slots=True)
class Furthest:
    """Of every image, the answer furthest from the right one; and the largest difference of an
    activation map, as a share of the largest right value."""

    right: Scores
    p_crack: dict[int, float] = field(default_factory=dict)
    """By the image's number."""
    map_difference: float = 0.0

    def add(self, places: Sequence[int], scores: Scores) -> None:
        """One run's answers to the images numbered `places`."""
        self._keep(zip(places, map(float, scores.p_crack_N), strict=True))
        if scores.cam_NHW.shape[1:] == self.right.cam_NHW.shape[1:]:
            self._compare_maps(scores.cam_NHW, self.right.cam_NHW[list(places)])

    def merge(self, said: JsonObject) -> None:
        """What another process found, by `to_json`."""
        self._keep((int(k), math.nan if p is None else p) for k, p in said["p_crack"].items())
        differs = said["map_difference"]
        self.map_difference = max(self.map_difference, math.inf if differs is None else differs)

    def to_json(self) -> JsonObject:
        return {
            "p_crack": {str(k): p if math.isfinite(p) else None for k, p in self.p_crack.items()},
            "map_difference": finite_or_none(self.map_difference),
        }

    def _keep(self, answers: Iterable[tuple[int, float]]) -> None:
        for k, p in answers:
            known, right = self.p_crack.get(k), float(self.right.p_crack_N[k])
            if known is None or not abs(p - right) <= abs(known - right):
                self.p_crack[k] = p

    def _compare_maps(self, found: NDArray[np.float32], right: NDArray[np.float32]) -> None:
        largest = float(np.nan_to_num(np.abs(found - right), nan=np.inf).max())
        scale = float(np.abs(self.right.cam_NHW).max()) or 1.0
        self.map_difference = max(self.map_difference, largest / scale)


def check(furthest: Furthest, pool: Pool, thresholds: Thresholds, rule: Rule) -> Outcome:
    """By the rule of `bench.checks`, and in fp32 the activation maps too."""
    right_N = pool.expected.p_crack_N
    outcome = examine(
        {str(k): Answer(float(right_N[k])) for k in furthest.p_crack},
        {str(k): Answer(p) for k, p in furthest.p_crack.items()},
        len(furthest.p_crack),
        rule,
        thresholds,
        pool.mistakes,
    )
    differs = furthest.map_difference
    if outcome.trouble or rule is not Rule.PROBABILITIES or differs <= CAM_TOLERANCE:
        return outcome
    return Outcome(
        trouble=f"activation maps are wrong by up to {differs:.2g} of their magnitude",
        images=outcome.images,
        largest_difference=outcome.largest_difference,
        mean_difference=outcome.mean_difference,
        other_verdicts=outcome.other_verdicts,
        missed_cracks=outcome.missed_cracks,
    )


def figures(
    outcome: Outcome | None,
    truth: Mapping[str, bool],
    found: Mapping[str, float],
    right: Mapping[str, float],
) -> JsonObject | None:
    """The comparison as it stands in results.json; ROC AUC where the `truth` is known."""
    if outcome is None:
        return None
    return {
        "images": outcome.images,
        "largest_difference": finite_or_none(outcome.largest_difference),
        "other_verdicts": outcome.other_verdicts,
        "missed_cracks": outcome.missed_cracks,
        "roc_auc": _roc_auc(truth, found),
        "reference_roc_auc": _roc_auc(truth, {k: p for k, p in right.items() if k in found}),
    }  # fmt: skip


def _roc_auc(truth: Mapping[str, bool], found: Mapping[str, float]) -> float | None:
    """None where a class is missing or an answer is no number."""
    known = [k for k in found if k in truth]
    labels = [truth[k] for k in known]
    if len(set(labels)) < 2 or not all(math.isfinite(found[k]) for k in known):
        return None
    from sklearn.metrics import roc_auc_score

    return float(roc_auc_score(labels, [found[k] for k in known]))


def finite_or_none(value: float) -> float | None:
    """JSON knows no infinity, which a difference to an answer that is no number has."""
    return value if math.isfinite(value) else None
