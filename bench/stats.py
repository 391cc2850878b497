"""Summaries of repeated measurements."""

from __future__ import annotations

import math
from statistics import fmean, median, stdev
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from inspector.types import JsonObject

CONFIDENCE = 0.95
"""Of intervals."""


def spread(values: Sequence[float]) -> dict[str, float]:
    """`median`, `min` and `max` of at least one value."""
    return {"median": median(values), "min": min(values), "max": max(values)}


def percentile(values: Sequence[float], percent: int) -> float:
    """The smallest of the values that at least `percent` (1..100) of them do not exceed (nearest
    rank): a time that was measured, not one between two."""
    return sorted(values)[-(-percent * len(values) // 100) - 1]


def interval(values: Sequence[float]) -> JsonObject:
    """`median` of at least one positive value, and where the typical one lies with 95 %
    confidence, `low` to `high`: Student's t on the logarithms, because rates vary by factors and
    rounds are few. None for a single value. `rounds`: how many there are."""
    middle: JsonObject = {"median": median(values), "low": None, "high": None}
    if len(values) > 1:
        from scipy import stats

        logs = [math.log(value) for value in values]
        half = float(stats.t.ppf((1 + CONFIDENCE) / 2, len(logs) - 1)) * _error(logs)
        middle |= {"low": math.exp(fmean(logs) - half), "high": math.exp(fmean(logs) + half)}
    return middle | {"rounds": len(values)}


def ratio(values: Sequence[float], base: Sequence[float]) -> JsonObject:
    """`ratio` of two typical rates, with the bounds `low` and `high` of its 95 % interval and the
    `p_value` of their being equal: Welch's t test on the logarithms, which allows each its own
    spread. Bounds are None, and nothing is told apart, below two rounds each."""
    middle = median(values) / median(base)
    if min(len(values), len(base)) < 2:
        return {"ratio": middle, "low": None, "high": None, "p_value": None}
    from scipy import stats

    logs, others = ([math.log(v) for v in of] for of in (values, base))
    apart, errors = fmean(logs) - fmean(others), (_error(logs) ** 2, _error(others) ** 2)
    error = math.sqrt(sum(errors))
    if error == 0:
        return {"ratio": middle, "low": middle, "high": middle, "p_value": float(apart == 0)}
    # Welch and Satterthwaite's degrees of freedom.
    freedom = sum(errors) ** 2 / sum(
        e**2 / (len(of) - 1) for e, of in zip(errors, (logs, others), strict=True)
    )
    half = float(stats.t.ppf((1 + CONFIDENCE) / 2, freedom)) * error
    return {
        "ratio": middle,
        "low": math.exp(apart - half),
        "high": math.exp(apart + half),
        "p_value": 2 * float(stats.t.sf(abs(apart) / error, freedom)),
    }


def _error(values: Sequence[float]) -> float:
    """Standard error of the mean."""
    return stdev(values) / math.sqrt(len(values))
