"""Differences between two engines' answers to the same images."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from inspector.model.verdict import decide
from inspector.types import Scores

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from inspector.model.bundle import Thresholds
    from inspector.types import JsonObject

    NamedPixels = tuple[Sequence[str], NDArray[np.uint8]]
    """Names of N images and their pixels, uint8 (N, H, W, 3)."""

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
        return {
            "images": self.images,
            "max_difference": self.max_difference,
            "mean_difference": self.mean_difference,
            "max_cam_difference": self.max_cam_difference,
            "max_ood_difference": self.max_ood_difference,
            "verdict_flips": [[f.p_reference, f.p_candidate] for f in self.verdict_flips],
        }


class ParityMeter:
    """Collects pairs of answers batch by batch; `report` needs at least one image."""

    def __init__(self, thresholds: Thresholds) -> None:
        self._thresholds = thresholds
        self._images = 0
        self._sum = 0.0
        self._cam_difference = 0.0
        self._cam_magnitude = 0.0
        self._ood_difference = 0.0
        self._worst: Answers | None = None
        self._flips: list[Answers] = []

    def add(self, names: Sequence[str], reference: Scores, candidate: Scores) -> None:
        """Compare the answers to the same N images, in the same order."""
        differs_N = differing(reference, candidate, self._thresholds)
        for name, p, q, differs in zip(
            names, reference.p_crack_N, candidate.p_crack_N, differs_N, strict=True
        ):
            pair = Answers(name, float(p), float(q))
            self._images += 1
            self._sum += pair.difference
            if self._worst is None or pair.difference > self._worst.difference:
                self._worst = pair
            if differs:
                self._flips.append(pair)
        for cam_HW, other_HW in zip(reference.cam_NHW, candidate.cam_NHW, strict=True):
            self._cam_magnitude = max(self._cam_magnitude, float(np.abs(cam_HW).max()))
            if cam_HW.shape == other_HW.shape:  # else of a stage that sees less
                gap_HW = np.nan_to_num(np.abs(other_HW - cam_HW), nan=np.inf)
                self._cam_difference = max(self._cam_difference, float(gap_HW.max()))
        off_N = np.abs(candidate.ood_N - reference.ood_N) / np.maximum(np.abs(reference.ood_N), 1)
        worst = float(np.nan_to_num(off_N, nan=np.inf).max())
        self._ood_difference = max(self._ood_difference, worst)

    def report(self) -> ParityReport:
        assert self._worst is not None, "nothing was compared"
        return ParityReport(
            images=self._images,
            max_difference=self._worst.difference,
            mean_difference=self._sum / self._images,
            max_cam_difference=self._cam_difference / (self._cam_magnitude or 1.0),
            max_ood_difference=self._ood_difference,
            worst=self._worst,
            verdict_flips=tuple(self._flips),
        )
