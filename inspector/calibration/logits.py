"""Temperature and shift: two numbers that make a network's probabilities mean what they say."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import expit

LOWEST_TEMPERATURE = 0.8
"""On an easy validation set the optimum is endless confidence, which the next wall disproves. Of
the floors tried, this one served walls of other sources best (docs/explanation/calibration.md)."""
HIGHEST_TEMPERATURE = 20.0
LARGEST_SHIFT = 3.0
"""Times the temperature: a factor of 20 in the odds."""


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
    training balances them too. Needs both classes."""
    margin_N = (logits_N2[:, 1] - logits_N2[:, 0]).astype(np.float64)
    cracks = int(is_crack_N.sum())
    weight_N = np.where(is_crack_N, 0.5 / cracks, 0.5 / (len(is_crack_N) - cracks))

    def loss(line: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        odds_N = line[0] * margin_N + line[1]
        surprise = weight_N @ np.logaddexp(0, np.where(is_crack_N, -odds_N, odds_N))
        off_N = weight_N * (expit(odds_N) - is_crack_N)
        return float(surprise), np.array([off_N @ margin_N, off_N.sum()])

    steepest = 1 / LOWEST_TEMPERATURE
    bounds = [(1 / HIGHEST_TEMPERATURE, steepest), (-LARGEST_SHIFT, LARGEST_SHIFT)]
    # From the steep end: where every image is beyond doubt, nothing says to be less sure.
    found = minimize(loss, [steepest, 0.0], jac=True, method="L-BFGS-B", bounds=bounds).x
    return Calibration(float(1 / found[0]), float(found[1] / found[0]))
