"""Which images a person should look at: mistakes, and labels that may be wrong."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from inspector.types import Verdict

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from inspector.evaluation.judged import JudgedImages

    Places = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Mistakes:
    """Places among the judged images, the most confident mistake first."""

    missed: Places
    """Cracks called clear."""
    false_alarms: Places
    """Clear images called crack."""
    caught: Places
    """On the wrong side of one half, but sent to a person."""

    @property
    def count(self) -> int:
        return len(self.missed) + len(self.false_alarms) + len(self.caught)


def find_mistakes(judged: JudgedImages) -> Mistakes:
    """Every image that the verdict, or the probability at one half, gets wrong."""
    truth_N, p_N, verdict_N = judged.is_crack_N, judged.p_crack_N, judged.verdict_N
    missed_N = truth_N & (verdict_N == str(Verdict.CLEAR))
    alarm_N = ~truth_N & (verdict_N == str(Verdict.CRACK))
    wrong_N = ((p_N >= 0.5) != truth_N) & (verdict_N == str(Verdict.REVIEW))
    doubt_N = _p_of_label(judged)
    return Mistakes(*(_worst_first(where_N, doubt_N) for where_N in (missed_N, alarm_N, wrong_N)))


def misclassified(judged: JudgedImages) -> Places:
    """Images on the wrong side of one half, the most confidently wrong first."""
    return _worst_first((judged.p_crack_N >= 0.5) != judged.is_crack_N, _p_of_label(judged))


def likely_label_errors(judged: JudgedImages) -> Places:
    """Images that confident learning would have relabelled, the least credible label first.

    An image counts as confidently of a class when the model gives that class at least the mean
    probability that it gives it over the images labelled so; one that is confidently of the other
    class than its label, and not of its own, is suspect (Northcutt, Jiang and Chuang 2021,
    sections 3.1 and 3.2: the confident joint's off-diagonal). The model must not have learned from
    these images: it would repeat their labels.
    """
    truth_N, p_label_N = judged.is_crack_N, _p_of_label(judged)
    if truth_N.all() or not truth_N.any():
        return np.empty(0, dtype=np.int64)
    typical = {label: p_label_N[truth_N == label].mean() for label in (True, False)}
    own_N = np.where(truth_N, typical[True], typical[False])
    other_N = np.where(truth_N, typical[False], typical[True])
    suspect_N = (1 - p_label_N >= other_N) & (p_label_N < own_N)
    return _worst_first(suspect_N & (p_label_N < 0.5), p_label_N)


def _p_of_label(judged: JudgedImages) -> NDArray[np.float64]:
    """The probability that the model gives to what the label says (N,)."""
    p_N = judged.p_crack_N.astype(np.float64)
    return np.where(judged.is_crack_N, p_N, 1 - p_N)


def _worst_first(where_N: NDArray[np.bool_], p_label_N: NDArray[np.float64]) -> Places:
    places = np.flatnonzero(where_N)
    return places[np.argsort(p_label_N[places], kind="stable")]
