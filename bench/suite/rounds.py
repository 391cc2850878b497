"""Which case is measured when: in rounds of random order, until intervals are narrow or time is
over."""

from __future__ import annotations

import math
import random
import time
from typing import TYPE_CHECKING, Protocol, TypeVar

from bench.stats import interval

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

LEAST_ROUNDS = 3
"""Below that an interval says next to nothing: its factor is 12.7 for two rounds, 4.3 for three."""
NARROW = 0.03
"""Half width of an interval, as a share of its middle, at which a case needs no more rounds."""


class Repeated(Protocol):
    """A case, as far as the order of measurement is concerned."""

    @property
    def open(self) -> bool:
        """It can run and has not failed."""
        ...

    @property
    def half_width(self) -> float:
        """Of its rate's interval, relative; infinite where that is not known yet."""
        ...


C = TypeVar("C", bound=Repeated)


def repeat(
    cases: Sequence[C],
    measure: Callable[[C, int], None],
    *,
    rounds: int,
    deadline: float,
    seed: int,
) -> None:
    """Measure every open case once a round, in a new order each time: neither a drift of the
    machine nor a fixed neighbour favours one of them.

    A case whose interval is narrow is done after `LEAST_ROUNDS`. After its first turn, a case has
    another only where that would, as long as the one before, end by `deadline`
    (time.perf_counter).
    """
    rng = random.Random(seed)
    spent: dict[int, float] = {}
    for number in range(rounds):
        turns = [case for case in cases if case.open and not _done(case, number)]
        for case in rng.sample(turns, len(turns)):
            began = time.perf_counter()
            if began + spent.get(id(case), -math.inf) > deadline:
                continue
            measure(case, number)
            spent[id(case)] = time.perf_counter() - began


def _done(case: Repeated, rounds: int) -> bool:
    return rounds >= LEAST_ROUNDS and case.half_width <= NARROW


def width_of(rates: Sequence[float]) -> float:
    """Half width of the interval of rates, relative to their median; infinite below two."""
    found = interval(rates) if rates else {}
    low, high, middle = (found.get(key) for key in ("low", "high", "median"))
    if low is None or high is None or not middle:
        return math.inf
    return float((high - low) / 2 / middle)
