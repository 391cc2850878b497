"""Log odds and probabilities: the one pair of functions that converts between them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

SURE = 1e-7
"""Probabilities nearer to 0 or 1 than this count as this near: float32 says no more near 1, and
differences beyond it mean nothing."""
_LARGEST = 700.0
"""Log odds beyond this overflow in `exp`."""


def log_odds(p_N: ArrayLike) -> NDArray[np.float64]:
    """Log odds of probabilities, float64 of the same shape; finite also for 0 and 1."""
    p_N = np.clip(np.asarray(p_N, np.float64), SURE, 1 - SURE)
    return np.asarray(np.log(p_N / (1 - p_N)))


def probability(odds_N: ArrayLike) -> NDArray[np.float64]:
    """Probabilities of log odds, float64 of the same shape."""
    return np.asarray(1 / (1 + np.exp(-np.clip(np.asarray(odds_N, np.float64), -_LARGEST, None))))


def shifted(p: float, logits: float) -> float:
    """The probability `logits` away in log odds from `p`; 0 and 1 stay."""
    if not 0 < p < 1:
        return p
    return 1 / (1 + math.exp(-(math.log(p / (1 - p)) + logits)))
