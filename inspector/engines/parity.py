"""Differences between two engines' answers to the same images."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np

from inspector.model.verdict import decide
from inspector.types import Scores

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from inspector.model.bundle import Thresholds
    from inspector.types import JsonObject


PROBABILITY_TOLERANCE = 1e-4
"""Largest accepted difference of a crack probability in float32. Engines add in different orders,
which moves it by about 1e-6 on this network; a wrong constant, channel order or label order moves
it by more than 1e-3."""
CAM_TOLERANCE = 1e-3
"""Largest accepted difference of an activation map, as a share of its largest magnitude."""
OOD_TOLERANCE = 1e-3
"""Largest accepted difference of an out-of-distribution score, as a share of it or of 1, whichever
is more."""


def verdicts(scores: Scores, thresholds: Thresholds) -> NDArray[np.str_]:
    """The verdicts on N images by the scores alone."""
    return decide(scores.p_crack_N, thresholds, ood_N=scores.ood_N)[0]


def differing(a: Scores, b: Scores, thresholds: Thresholds) -> NDArray[np.bool_]:
    """Whether two engines' verdicts on N images differ."""
    return np.asarray(verdicts(a, thresholds) != verdicts(b, thresholds))


def settled(candidate: Scores, reference: Scores, deferred_N: NDArray[np.bool_]) -> Scores:
    """The candidate's answers to N images, but the reference's to those that are deferred."""
    return Scores(
        np.where(deferred_N, reference.p_crack_N, candidate.p_crack_N),
        candidate.cam_NHW,
        np.where(deferred_N, reference.ood_N, candidate.ood_N),
    )


@dataclass(frozen=True, slots=True)
class Answers:
    """Crack probabilities of one image by two engines."""

    image: str
    p_reference: float
    p_candidate: float

    @property
    def difference(self) -> float:
        """Infinite when an answer is no number: nothing agrees with that."""
        gap = abs(self.p_candidate - self.p_reference)
        return gap if math.isfinite(gap) else math.inf

    def __str__(self) -> str:
        return (
            f"{self.image} has p_crack {self.p_candidate:.6f} instead of {self.p_reference:.6f} "
            f"(differs by {self.difference:.2g})"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ParityReport:
    """Agreement of a candidate with the reference over `images` images.

    Differences of probabilities are absolute. `max_cam_difference` is relative: the largest
    difference on an activation map, divided by the largest magnitude on the reference's maps.
    `max_ood_difference` is a share of the out-of-distribution score, or of 1 where that is less.
    """

    images: int
    max_difference: float
    mean_difference: float
    max_cam_difference: float
    max_ood_difference: float
    worst: Answers
    verdict_flips: tuple[Answers, ...]

    def to_json(self) -> JsonObject:
        """The evidence without the images' names, which may be private."""
        values = asdict(self)
        del values["worst"]
        values["verdict_flips"] = [[f.p_reference, f.p_candidate] for f in self.verdict_flips]
        return values


def parity(
    names: Sequence[str], reference: Scores, candidate: Scores, thresholds: Thresholds
) -> ParityReport:
    """Compare two engines' answers to the same N >= 1 images, in the same order."""
    differs_N = differing(reference, candidate, thresholds)
    pairs = [
        Answers(name, float(p), float(q))
        for name, p, q in zip(names, reference.p_crack_N, candidate.p_crack_N, strict=True)
    ]
    differences = [pair.difference for pair in pairs]
    cam_magnitude = cam_difference = 0.0
    for cam_HW, other_HW in zip(reference.cam_NHW, candidate.cam_NHW, strict=True):
        cam_magnitude = max(cam_magnitude, float(np.abs(cam_HW).max()))
        if cam_HW.shape == other_HW.shape:  # else of a stage that sees less
            gap_HW = np.nan_to_num(np.abs(other_HW - cam_HW), nan=np.inf)
            cam_difference = max(cam_difference, float(gap_HW.max()))
    off_N = np.abs(candidate.ood_N - reference.ood_N) / np.maximum(np.abs(reference.ood_N), 1)
    return ParityReport(
        images=len(pairs),
        max_difference=max(differences),
        mean_difference=sum(differences) / len(pairs),
        max_cam_difference=cam_difference / (cam_magnitude or 1.0),
        max_ood_difference=float(np.nan_to_num(off_N, nan=np.inf).max()),
        worst=max(pairs, key=lambda pair: pair.difference),
        verdict_flips=tuple(
            pair for pair, differs in zip(pairs, differs_N, strict=True) if differs
        ),
    )
