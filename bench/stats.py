"""Summaries of repeated measurements."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import fmean, median
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from inspector.types import JsonObject

CONFIDENCE = 0.95
"""Of intervals."""
PRIOR = 4.0
"""Degrees of freedom that the noise of all cases lends to each one's own."""


@dataclass(frozen=True, slots=True)
class Noise:
    """How much rounds of the same case differ by chance: the `variance` of the logarithms of their
    rates, known with `freedom` degrees; none known by default."""

    variance: float = 0.0
    freedom: float = 0.0


NO_NOISE_KNOWN = Noise()


def spread(values: Sequence[float]) -> dict[str, float]:
    """`median`, `min` and `max` of at least one value."""
    return {"median": median(values), "min": min(values), "max": max(values)}


def percentile(values: Sequence[float], percent: int) -> float:
    """The smallest of the values that at least `percent` (1..100) of them do not exceed (nearest
    rank): a time that was measured, not one between two."""
    return sorted(values)[-(-percent * len(values) // 100) - 1]


def noise_of(cases: Iterable[Sequence[float]]) -> Noise:
    """The noise that cases measured on one machine have in common, from the rates of each: their
    pooled variance."""
    squares, freedom = 0.0, 0
    for rates in cases:
        logs = [math.log(rate) for rate in rates]
        squares += _squares(logs)
        freedom += len(logs) - 1 if logs else 0
    return Noise(squares / freedom, freedom) if freedom else NO_NOISE_KNOWN


def interval(values: Sequence[float], noise: Noise = NO_NOISE_KNOWN) -> JsonObject:
    """`median` of at least one positive value, and where the typical one lies with 95 %
    confidence, `low` to `high`, or None where nothing says how much values differ by chance.
    `rounds`: how many values there are.

    Student's t on the logarithms, because rates vary by factors. The variance is moderated: the
    values' own and, as if from `PRIOR` further ones, that of `noise`; from two rounds alone an
    interval would be useless (Smyth 2004, Linear models and empirical Bayes methods)."""
    middle: JsonObject = {"median": median(values), "low": None, "high": None}
    mean, error, freedom = _typical(values, noise)
    if freedom:
        from scipy import stats

        half = float(stats.t.ppf((1 + CONFIDENCE) / 2, freedom)) * error
        middle |= {"low": math.exp(mean - half), "high": math.exp(mean + half)}
    return middle | {"rounds": len(values)}


def ratio(
    values: Sequence[float],
    base: Sequence[float],
    noise: Noise = NO_NOISE_KNOWN,
    base_noise: Noise = NO_NOISE_KNOWN,
) -> JsonObject:
    """`ratio` of two typical rates, with the bounds `low` and `high` of its 95 % interval and the
    `p_value` of their being equal: Welch's t test on the logarithms, which allows each its own
    spread, with variances moderated as in `interval`. Bounds are None, and nothing is told apart,
    where the spread of one is not known."""
    middle = median(values) / median(base)
    mean, error, freedom = _typical(values, noise)
    base_mean, base_error, base_freedom = _typical(base, base_noise)
    if not (freedom and base_freedom):
        return {"ratio": middle, "low": None, "high": None, "p_value": None}
    from scipy import stats

    apart, both = mean - base_mean, math.hypot(error, base_error)
    if both == 0:
        return {"ratio": middle, "low": middle, "high": middle, "p_value": float(apart == 0)}
    # Welch and Satterthwaite's degrees of freedom.
    freedom = both**4 / (error**4 / freedom + base_error**4 / base_freedom)
    half = float(stats.t.ppf((1 + CONFIDENCE) / 2, freedom)) * both
    return {
        "ratio": middle,
        "low": math.exp(apart - half),
        "high": math.exp(apart + half),
        "p_value": 2 * float(stats.t.sf(abs(apart) / both, freedom)),
    }


def _typical(values: Sequence[float], noise: Noise) -> tuple[float, float, float]:
    """Mean of the logarithms, its standard error, and the degrees of freedom of that."""
    logs = [math.log(value) for value in values]
    lent = min(PRIOR, noise.freedom)
    freedom = len(logs) - 1 + lent
    variance = (_squares(logs) + lent * noise.variance) / freedom if freedom else 0.0
    return fmean(logs), math.sqrt(variance / len(logs)), freedom


def _squares(values: Sequence[float]) -> float:
    """Sum of squared distances from the mean; 0 for one value or none."""
    if len(values) < 2:
        return 0.0
    mean = fmean(values)
    return math.fsum((value - mean) ** 2 for value in values)
