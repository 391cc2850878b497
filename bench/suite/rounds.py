"""Which case is measured when: in rounds of random order, until intervals are narrow or time is
over."""

from __future__ import annotations

import math
import random
import time
from typing import TYPE_CHECKING, Protocol, TypeVar

from bench.stats import NO_NOISE_KNOWN, Noise, interval, noise_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

LEAST_ROUNDS = 3
"""That a case has if there is time, however narrow its interval."""
NARROW = 0.03
"""Half width of an interval, as a share of its middle, at which a case needs no more rounds."""


class Repeated(Protocol):
    """A case, as far as the order of measurement is concerned."""

    @property
    def open(self) -> bool:
        """It can run and has not failed."""
        ...

    @property
    def usual(self) -> bool:
        """It must not go short: the others are compared with it."""
        ...

    @property
    def measured(self) -> Sequence[Sequence[float]]:
        """Rates of all rounds so far, for each of its settings."""
        ...


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
    machine nor a fixed neighbour favours one of them.

    A case whose interval is narrow is done after `LEAST_ROUNDS`. After its first turn, a case has
    another only where that would, as long as the one before, end by `deadline`
    (time.perf_counter). The first turn of usual cases comes before that of the others, which have
    none that would begin after `end`.
    """
    rng = random.Random(seed)
    spent: dict[int, float] = {}
    for number in range(rounds):
        noise = noise_of(rates for case in cases for rates in case.measured)
        turns = [case for case in cases if case.open and not _done(case, number, noise)]
        order = rng.sample(turns, len(turns))
        for case in order if number else sorted(order, key=lambda case: not case.usual):
            began, last = time.perf_counter(), spent.get(id(case))
            if last is None and not case.usual and began > end:
                continue
            if last is not None and began + last > deadline:
                continue
            measure(case, number)
            spent[id(case)] = time.perf_counter() - began


def _done(case: Repeated, rounds: int, noise: Noise) -> bool:
    if rounds < LEAST_ROUNDS:
        return False
    return max((width_of(rates, noise) for rates in case.measured), default=math.inf) <= NARROW


def width_of(rates: Sequence[float], noise: Noise = NO_NOISE_KNOWN) -> float:
    """Half width of the interval of rates, relative to their median; infinite where there is
    none."""
    found = interval(rates, noise) if rates else {}
    low, high, middle = (found.get(key) for key in ("low", "high", "median"))
    if low is None or high is None or not middle:
        return math.inf
    return float((high - low) / 2 / middle)
