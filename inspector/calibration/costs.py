"""Thresholds of least expected cost, with a third verdict that costs a look."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from inspector.model.odds import log_odds, probability

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from inspector.calibration.rule import Costs


def cheapest(
    p_N: NDArray[np.floating[Any]],
    is_crack_N: NDArray[np.bool_],
    costs: Costs,
    prevalence: float | None,
) -> tuple[float, float]:
    """`clear_below` and `crack_from` with the least mean cost over the images, weighed as if a
    share of `prevalence` of them had a crack (None: as many as have).

    Chow (1970) rejects where the posterior's expected cost of either verdict exceeds that of a
    look; a monotone score turns that into two thresholds. They are searched on the images' own
    answers, so that they need no calibrated probabilities: among the K + 1 gaps between their K
    different values, of equally cheap ones the lowest `crack_from`, then the lowest
    `clear_below`.
    """
    share = float(is_crack_N.mean()) if prevalence is None else prevalence
    value_K, place_N = np.unique(p_N, return_inverse=True)
    crack_K = np.bincount(place_N, is_crack_N, len(value_K)) * share / is_crack_N.sum()
    clear_K = np.bincount(place_N, ~is_crack_N, len(value_K)) * (1 - share) / (~is_crack_N).sum()
    # With the gap in front of value k as a threshold: what lies below it costs this much more, or
    # less, than if it were looked at; what lies above it likewise.
    look_K = costs.look * (crack_K + clear_K)
    called_clear = _before(costs.miss * crack_K - look_K)
    called_crack = _before((costs.false_alarm * clear_K - look_K)[::-1])[::-1]
    best_low = np.minimum.accumulate(called_clear)
    high = int(np.argmin(_settled(best_low + called_crack)))
    low = int(np.argmin(_settled(called_clear[: high + 1])))
    gap_G = _gaps(value_K.astype(np.float64))
    return float(gap_G[low]), float(gap_G[high])


def _before(cost_K: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.concatenate([[0.0], np.cumsum(cost_K)])


def _settled(cost: NDArray[np.float64]) -> NDArray[np.float64]:
    """Equal costs are equal, whatever the order in which they were added up."""
    return np.asarray(np.round(cost, 12))


def _gaps(value_K: NDArray[np.float64]) -> NDArray[np.float64]:
    """A threshold in each gap, halfway in log odds, where a little noise on either side changes
    nothing; 0 before the first value, 1 behind the last."""
    odds_K = log_odds(value_K)
    middle = np.clip(probability((odds_K[1:] + odds_K[:-1]) / 2), value_K[:-1], value_K[1:])
    return np.concatenate([[0.0], middle, [1.0]])
