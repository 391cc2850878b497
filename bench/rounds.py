"""Order of measurement: rounds in which all cases take turns, until their intervals are narrow or
the time is over."""

from __future__ import annotations

import math
import random
import time
from typing import TYPE_CHECKING, Protocol, TypeVar

from bench.stats import LEAST_ROUNDS, half_width

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

NARROW = 0.03
"""Half width of an interval, as a share of its median, at which a case needs no more rounds."""


class Repeated(Protocol):
    """A case, as far as the order of measurement is concerned."""

    @property
    def open(self) -> bool:
        """Whether it can run and has not failed."""
        ...

    @property
    def usual(self) -> bool:
        """Whether it must not go short: the others are compared with it."""
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
    machine nor a fixed neighbour favours one of them. A case whose interval is narrow is done.

    Args:
        cases: Cases to measure.
        measure: Takes one turn of a case; is told the number of the round, from 0.
        rounds: Rounds at most.
        deadline: time.perf_counter by which a further turn must be expected to end.
        end: time.perf_counter after which no case has its first turn, except usual ones, which
            come first.
        seed: Of the orders.
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
    if rounds < LEAST_ROUNDS:
        return False
    return max(map(half_width, case.measured), default=math.inf) <= NARROW
