"""What a ceiling of the machine is, and how samples of several are taken in turn."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field
from statistics import median
from typing import TYPE_CHECKING

from bench.system import without_folders

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from inspector.types import JsonObject

TURNS = 5
"""Samples of each ceiling, spread over the whole time: what disturbs the machine for a second then
spoils one sample of several ceilings and not all of one."""
_LEAST_SHARE = 0.4
"""Of the time, for the turns, however long it took to prepare them."""
SETTLE_S = 0.01
"""Before each turn: the threads of the last one still spin for a moment."""

if TYPE_CHECKING:
    Turn = Callable[[float], float]
    """Measures for about so many seconds; returns a rate in the ceiling's unit."""


class UnmeasurableError(Exception):
    """This machine does not allow it; the text says why."""


@dataclass(slots=True, kw_only=True)
class Ceiling:
    """What the machine can do at most of one kind of work. `what` and `how` are words."""

    name: str
    what: str
    unit: str
    how: str
    prepare: Callable[[], Turn]
    """Makes the data, warms up. Raises UnmeasurableError."""
    turn: Turn | None = None
    samples: list[float] = field(default_factory=list)
    reason: str = ""
    """Why it has no samples."""

    def make_ready(self) -> None:
        try:
            self.turn = self.prepare()
        except Exception as error:  # one that no library foresaw must not cost the other ceilings
            self._give_up(error)

    def sample(self, seconds: float) -> None:
        if self.turn is None:
            return
        try:
            rate = self.turn(seconds)
            if not (math.isfinite(rate) and rate > 0):
                raise UnmeasurableError(f"it measured {rate} {self.unit}")
        except Exception as error:
            self._give_up(error)
        else:
            self.samples.append(rate)

    def _give_up(self, error: Exception) -> None:
        self.turn, self.samples = None, []
        words = " ".join(without_folders(str(error)).split())[:200] or type(error).__name__
        own = isinstance(error, UnmeasurableError)
        self.reason = words if own else f"it failed with: {words}"

    def to_json(self) -> JsonObject:
        return {
            "what": self.what,
            "unit": self.unit,
            "samples": [round(sample, 4) for sample in self.samples],
            "median": round(median(self.samples), 4) if self.samples else None,
            "reason": self.reason,
            "how": self.how,
        }


def measure(ceilings: Sequence[Ceiling], seconds: float) -> JsonObject:
    """`TURNS` samples of each, by turns, in about `seconds` with all preparation."""
    started = time.perf_counter()
    for ceiling in ceilings:
        ceiling.make_ready()
    ready = [ceiling for ceiling in ceilings if ceiling.turn is not None]
    left = max(_LEAST_SHARE * seconds, seconds - (time.perf_counter() - started))
    each = left / max(1, len(ready) * TURNS)
    for _ in range(TURNS):
        for ceiling in ready:
            time.sleep(SETTLE_S)
            ceiling.sample(each)
    return {ceiling.name: ceiling.to_json() for ceiling in ceilings}


def fastest(runs: Sequence[tuple[float, Callable[[], object]]], seconds: float) -> float:
    """The highest rate of any single run, in units of work per second; `runs` are pairs of work
    and what does it, each called at least once, then by turns until the time is over."""
    end, best, called = time.perf_counter() + seconds, 0.0, 0
    while called < len(runs) or time.perf_counter() < end:
        work, run = runs[called % len(runs)]
        began = time.perf_counter()
        run()
        best = max(best, work / (time.perf_counter() - began))
        called += 1
    return best
