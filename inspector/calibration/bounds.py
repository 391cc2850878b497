"""Upper bounds on a share that was counted on few images.

`confidence` is the probability (below 1) with which a bound holds, over the draw of the sample.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from scipy.special import bdtr, betaincinv
from scipy.stats import binom

if TYPE_CHECKING:
    from collections.abc import Callable

_APART = 1e-6


def error_bound(errors: int, trials: int, confidence: float) -> float:
    """The one-sided upper bound of Clopper and Pearson (1934) on the probability of an error, of
    which `errors` were seen in `trials` exchangeable ones."""
    if errors >= trials:
        return 1.0
    return float(betaincinv(errors + 1, trials - errors, confidence))


def most_errors(trials: int, share: float, confidence: float) -> int:
    """The most errors for which `error_bound` is at most `share`; -1 where none is few enough."""
    most = int(binom.ppf(1 - confidence, trials, share))  # exact up to one, in floats
    while most >= 0 and error_bound(most, trials, confidence) > share:
        most -= 1
    return most


def trials_needed(share: float, confidence: float) -> int:
    """The fewest trials without an error that show that a `share` in (0, 1) is not exceeded."""
    # The slack keeps a share like 0.05, in floats a little more or less, from costing a trial.
    trials = max(1, math.ceil(math.log(1 - confidence) / math.log1p(-share) - 1e-9))
    return trials if error_bound(0, trials, confidence) <= share else trials + 1


def mean_bound(mean: float, units: int, confidence: float) -> float:
    """The upper bound of Hoeffding and Bentkus on the expectation of a loss between 0 and 1, whose
    mean over `units` independent draws is `mean` (Bates et al. 2021, section 3.1)."""
    _, bound = _border(mean, 1.0, lambda m: _p_value(mean, units, m) > 1 - confidence)
    return bound


def largest_mean(units: int, share: float, confidence: float) -> float:
    """The largest mean loss for which `mean_bound` is at most `share`; -1 where not even 0 is small
    enough."""
    if _p_value(0.0, units, share) > 1 - confidence:
        return -1.0
    largest, _ = _border(0.0, share, lambda m: _p_value(m, units, share) <= 1 - confidence)
    return largest


def _border(low: float, high: float, holds: Callable[[float], bool]) -> tuple[float, float]:
    """Bisection: the last number where the condition holds, and the first where it does not, to
    within `_APART`."""
    while high - low > _APART:
        middle = (low + high) / 2
        if holds(middle):
            low = middle
        else:
            high = middle
    return low, high


def _p_value(mean: float, units: int, expected: float) -> float:
    """Upper bound on the probability of so small a mean, if the expectation were `expected`."""
    divergence = (1 - mean) * math.log((1 - mean) / (1 - expected)) if mean < 1 else 0.0
    if mean > 0:
        divergence += mean * math.log(mean / expected)
    hoeffding = math.exp(-units * divergence) if mean < expected else 1.0
    bentkus = math.e * float(bdtr(math.ceil(units * mean - 1e-9), units, expected))
    return min(hoeffding, bentkus)
