"""From logits to probabilities that mean something, and from probabilities to thresholds."""

from __future__ import annotations

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


def fit_temperature(logits_N2: NDArray[np.floating[Any]], is_crack_N: NDArray[np.bool_]) -> float:
    """The divisor of the logits that minimises the negative log-likelihood (Guo et al. 2017).

    Searched from 1 to 20 by golden section: the likelihood has one optimum in 1/T. Never below 1:
    on an easy validation set the optimum is endless confidence, which the next wall disproves.
    """
    margin = (logits_N2[:, 1] - logits_N2[:, 0]).astype(np.float64) * np.where(is_crack_N, 1, -1)

    def loss(log_t: float) -> float:
        return float(np.logaddexp(0, -margin / np.exp(log_t)).mean())

    low, high = 0.0, np.log(20.0)
    shrink = (np.sqrt(5) - 1) / 2
    while high - low > 1e-4:
        left, right = high - shrink * (high - low), low + shrink * (high - low)
        if loss(left) < loss(right):
            high = right
        else:
            low = left
    return float(np.exp((low + high) / 2))


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
