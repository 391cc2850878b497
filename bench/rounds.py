"""Order of measurement: rounds in which all cases take turns, until their intervals are narrow or
the time is over; and medians of repeated measurements, with how far chance may have moved them."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

LEAST_ROUNDS = 3
"""Rounds below which no interval is given."""
RESAMPLES = 2000
_TAILS = (2.5, 97.5)
"""Percentiles between which 95 % of the resampled medians lie."""


@dataclass(frozen=True, slots=True)
class Interval:
    """A median, or a ratio of two, with the bounds of its 95 % bootstrap interval; None where
    there were fewer than `LEAST_ROUNDS` rounds."""

    median: float
    low: float | None = None
    high: float | None = None

    @property
    def bounds(self) -> tuple[float, ...]:
        """Both bounds, or nothing."""
        return () if self.low is None or self.high is None else (self.low, self.high)

    @property
    def differs_from_one(self) -> bool:
        """Whether chance does not explain that a ratio is not 1."""
        low, high = self.bounds or (1.0, 1.0)
        return not low <= 1 <= high


def median_of(values: Sequence[float]) -> Interval:
    """Median of at least one value, with the interval of the medians of resampled values."""
    return _interval(float(np.median(values)), len(values), lambda: _resampled(values))


def ratio_of(values: Sequence[float], base: Sequence[float]) -> Interval:
    """Ratio of the medians of two sets of positive values, resampled independently."""
    ratio, rounds = float(np.median(values) / np.median(base)), min(len(values), len(base))
    return _interval(ratio, rounds, lambda: _resampled(values) / _resampled(base, seed=1))


def percentile(values: Sequence[float], percent: int) -> float:
    """Smallest of the values that at least `percent` (1 to 100) of them do not exceed: a time that
    was measured, not one between two."""
    return float(np.percentile(values, percent, method="inverted_cdf"))


def half_width(values: Sequence[float]) -> float:
    """Half the width of the median's interval, as a share of it; infinite where there is none."""
    found = median_of(values) if values else Interval(1.0)
    low, high = found.bounds or (-math.inf, math.inf)
    return (high - low) / 2 / found.median


def _resampled(values: Sequence[float], seed: int = 0) -> Floats:
    """Medians of `RESAMPLES` draws with replacement; the same ones for the same values."""
    draws = np.random.default_rng(seed).choice(values, (RESAMPLES, len(values)))
    return np.asarray(np.median(draws, axis=1))


def _interval(median: float, rounds: int, resampled: Callable[[], Floats]) -> Interval:
    if rounds < LEAST_ROUNDS:
        return Interval(median)
    low, high = np.percentile(resampled(), _TAILS)
    return Interval(median, min(float(low), median), max(float(high), median))


NARROW = 0.03
"""Half width of an interval, as a share of its median, at which a case needs no more rounds."""


class Repeated(Protocol):
    """A case, as far as the order of measurement is concerned."""

    @property
    def open(self) -> bool:
        """Whether it can run and has not failed."""

    @property
    def usual(self) -> bool:
        """Whether it must not go short: the others are compared with it."""

    @property
    def measured(self) -> Sequence[Sequence[float]]:
        """Rates of all rounds so far, for each of its settings."""


C = TypeVar("C", bound=Repeated)


def repeat(
    cases: Sequence[C],
    measure: Callable[[C, int], None],
    *,
    rounds: int,
    deadline: float,
    end: float = math.inf,
    seed: int,
) -> None:
    """Measure every open case once a round, in a new order each time: neither a drift of the
    machine nor a fixed neighbour favours one of them. A case whose interval is narrow is done.

    `measure` takes one turn of a case and is told the number of the round, from 0. By `deadline`
    (time.perf_counter) a further turn must be expected to end; after `end` no case has its first
    turn, except usual ones, which come first.
    """
    rng = random.Random(seed)
    spent: dict[int, float] = {}
    for number in range(rounds):
        turns = [case for case in cases if case.open and not _done(case, number)]
        order = rng.sample(turns, len(turns))
        for case in order if number else sorted(order, key=lambda case: not case.usual):
            began, last = time.perf_counter(), spent.get(id(case))
            if last is None and not case.usual and began > end:
                continue
            if last is not None and began + last > deadline:
                continue
            measure(case, number)
            spent[id(case)] = time.perf_counter() - began


def _done(case: Repeated, rounds: int) -> bool:
    widths = map(half_width, case.measured)
    return rounds >= LEAST_ROUNDS and max(widths, default=math.inf) <= NARROW
