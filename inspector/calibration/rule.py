"""The rule that thresholds are chosen by: targets, or costs."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from inspector.errors import UsageError
from inspector.model.odds import log_odds, probability

if TYPE_CHECKING:
    from numpy.typing import NDArray

MISSED = 0.1
"""Share of any source's cracks that the default lets be called clear at most, with confidence; of
100 cracks that is 4, so that about one in twenty is expected."""
ALARMS = 0.08
"""Share of any source's crack-free images that may be called crack: 5 of 138."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Costs:
    """The costs of the outcomes, in any unit: only their ratios count.

    Raises UsageError unless all are positive.
    """

    miss: float
    """A crack that is called clear."""
    false_alarm: float
    """A crack-free image that is called crack."""
    review: float | None = None
    """A look at one image; None: half a false alarm."""

    def __post_init__(self) -> None:
        if not all(0 < cost < float("inf") for cost in (self.miss, self.false_alarm, self.look)):
            raise UsageError("costs must be positive numbers")

    @property
    def look(self) -> float:
        return self.false_alarm / 2 if self.review is None else self.review


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """Targets, or costs where there are some. Raises UsageError for impossible values."""

    target_recall: float = 1 - MISSED
    """Share of the cracks that are not called clear, at least."""
    target_specificity: float = 1 - ALARMS
    """Share of the crack-free images that are not called crack, at least."""
    confidence: float = 0.95
    """Probability with which the targets are met on further images like these."""
    by_source: bool = True
    """Every source that has enough images meets the targets, not only all of them together."""
    costs: Costs | None = None
    prevalence: float | None = None
    """Share of images with a crack for which costs are weighed; None: as among the images."""
    highest_clear: float = 1.0
    """Upper limit of `clear_below`."""
    lowest_crack: float = 0.0
    """Lower limit of `crack_from`."""

    def __post_init__(self) -> None:
        shares = {
            "target recall": self.target_recall,
            "target specificity": self.target_specificity,
            "confidence": self.confidence,
            "prevalence": 0.5 if self.prevalence is None else self.prevalence,
        }
        for name, share in shares.items():
            if not 0 < share < 1:
                raise UsageError(f"a {name} of {share:g} is not between 0 and 1")


def for_unseen_walls(rule: Rule) -> Rule:
    """The rule for a training, which is validated on the images at hand: targets that an easy
    validation set meets at any threshold must not make the next wall unsafe."""
    return rule if rule.costs else replace(rule, highest_clear=0.17, lowest_crack=0.5)


def cheapest(
    p_N: NDArray[np.floating[Any]],
    is_crack_N: NDArray[np.bool_],
    costs: Costs,
    prevalence: float | None,
) -> tuple[float, float]:
    """`clear_below` and `crack_from` with the least mean cost over the images, weighed as if a
    share of `prevalence` of them had a crack (None: as many as have).

    Chow (1970) rejects where the posterior's expected cost of either verdict exceeds that of a
    look; a monotone score turns that into two thresholds. They are searched on the images'
    probabilities, which need not be calibrated: among the K + 1 gaps between their K different
    values, of equally cheap ones the lowest `crack_from`, then the lowest `clear_below`.
    """
    share = float(is_crack_N.mean()) if prevalence is None else prevalence
    value_K, place_N = np.unique(p_N, return_inverse=True)
    crack_K = np.bincount(place_N, is_crack_N, len(value_K)) * share / is_crack_N.sum()
    clear_K = np.bincount(place_N, ~is_crack_N, len(value_K)) * (1 - share) / (~is_crack_N).sum()
    # With the gap before value k as a threshold: the cost of all below it, over that of a look at
    # them; likewise of all above it.
    look_K = costs.look * (crack_K + clear_K)
    called_clear = _running(costs.miss * crack_K - look_K)
    called_crack = _running((costs.false_alarm * clear_K - look_K)[::-1])[::-1]
    best_low = np.minimum.accumulate(called_clear)
    # Rounded, so that equal costs are equal in whatever order they were added up.
    high = int(np.argmin(np.round(best_low + called_crack, 12)))
    low = int(np.argmin(np.round(called_clear[: high + 1], 12)))
    # Each threshold lies halfway across its gap in log odds: a little noise changes nothing.
    odds_K = log_odds(value_K)
    middle = np.clip(probability((odds_K[1:] + odds_K[:-1]) / 2), value_K[:-1], value_K[1:])
    gap_G = np.concatenate([[0.0], middle, [1.0]])
    return float(gap_G[low]), float(gap_G[high])


def _running(cost_K: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.concatenate([[0.0], np.cumsum(cost_K)])
