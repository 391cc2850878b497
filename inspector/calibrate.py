"""From logits to probabilities that mean something, and from probabilities to thresholds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from inspector.bundle import Thresholds

if TYPE_CHECKING:
    from numpy.typing import NDArray

MISSED_CRACKS = 0.01
"""Share of validation cracks that may fall below `clear_below`."""
FALSE_CRACKS = 0.01
"""Share of crack-free validation images that may lie above `crack_from`."""
HIGHEST_CLEAR = 0.3
"""`clear_below` is never higher: an easy validation set must not make the next wall unsafe."""
LOWEST_CRACK = 0.5
"""`crack_from` is never lower."""
LARGEST_SHIFT = 3.0
"""Bound on the shift of the crack logit: a factor of 20 in the odds."""


@dataclass(frozen=True, slots=True)
class Calibration:
    """Calibrated log odds of a crack are (margin + shift) / temperature, the margin being the crack
    logit minus the clear one."""

    temperature: float
    shift: float


def fit_calibration(
    logits_N2: NDArray[np.floating[Any]], is_crack_N: NDArray[np.bool_]
) -> Calibration:
    """Minimises the negative log-likelihood (Platt 1999), both classes weighing the same, because
    training balances them too.

    The temperature is searched from 1 to 20 by golden section. Never below 1: on an easy validation
    set the optimum is endless confidence, which the next wall disproves.
    """
    margin_N = (logits_N2[:, 1] - logits_N2[:, 0]).astype(np.float64)
    cracks = int(is_crack_N.sum())
    weight_N = np.where(is_crack_N, 0.5 / cracks, 0.5 / (len(is_crack_N) - cracks))

    def loss(log_t: float) -> float:
        temperature = float(np.exp(log_t))
        odds_N = (margin_N + _best_shift(margin_N, is_crack_N, weight_N, temperature)) / temperature
        return float(weight_N @ np.logaddexp(0, np.where(is_crack_N, -odds_N, odds_N)))

    low, high = 0.0, float(np.log(20.0))
    shrink = (np.sqrt(5) - 1) / 2
    while high - low > 1e-4:
        left, right = high - shrink * (high - low), low + shrink * (high - low)
        if loss(left) < loss(right):
            high = right
        else:
            low = left
    # The interval never closes on its ends, yet 1 is the commonest answer.
    temperature = 1.0 if low == 0 else float(np.exp((low + high) / 2))
    return Calibration(temperature, _best_shift(margin_N, is_crack_N, weight_N, temperature))


def _best_shift(
    margin_N: NDArray[np.float64],
    is_crack_N: NDArray[np.bool_],
    weight_N: NDArray[np.float64],
    temperature: float,
) -> float:
    """Where the likelihood's slope in the shift is zero, by bisection: the slope is monotone."""
    low, high = -LARGEST_SHIFT, LARGEST_SHIFT
    while high - low > 1e-4:
        shift = (low + high) / 2
        p_N = 0.5 * (1 + np.tanh((margin_N + shift) / (2 * temperature)))
        if weight_N @ (p_N - is_crack_N) > 0:
            high = shift
        else:
            low = shift
    return (low + high) / 2


def choose_thresholds(
    p_N: NDArray[np.floating[Any]], is_crack_N: NDArray[np.bool_], *, on: str
) -> Thresholds:
    """`clear_below` and `crack_from` by the shares named above; `on` names the images."""
    missed = np.quantile(p_N[is_crack_N], MISSED_CRACKS, method="lower")
    alarmed = np.quantile(p_N[~is_crack_N], 1 - FALSE_CRACKS, method="higher")
    clear_below = min(HIGHEST_CLEAR, float(missed))
    crack_from = max(LOWEST_CRACK, float(alarmed))
    return Thresholds(
        clear_below=round(clear_below, 4),
        crack_from=round(crack_from, 4),
        chosen=(
            f"on {on}: clear_below so that at most {MISSED_CRACKS:.0%} of cracks are called clear, "
            f"at most {HIGHEST_CLEAR}; crack_from so that at most {FALSE_CRACKS:.0%} of crack-free "
            f"images are called crack, at least {LOWEST_CRACK}"
        ),
    )
