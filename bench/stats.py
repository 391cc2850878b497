"""Rounds and summaries of repeated measurements on a machine that may drift."""

from __future__ import annotations

import random
from statistics import median
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

T = TypeVar("T")


def shuffled_rounds(cases: Sequence[T], rounds: int, *, seed: int) -> Iterator[list[T]]:
    """Every case once per round, in a new order each time: neither a drift of the machine nor a
    fixed neighbour favours one of them."""
    rng = random.Random(seed)
    for _ in range(rounds):
        yield rng.sample(cases, len(cases))


def spread(values: Sequence[float]) -> dict[str, float]:
    """`median`, `min` and `max` of at least one value."""
    return {"median": median(values), "min": min(values), "max": max(values)}


def percentile(values: Sequence[float], percent: int) -> float:
    """The smallest of the values that at least `percent` (1..100) of them do not exceed (nearest
    rank): a time that was measured, not one between two."""
    return sorted(values)[-(-percent * len(values) // 100) - 1]


def pairwise_ratios(values: Sequence[float], reference: Sequence[float]) -> list[float]:
    """Value by reference, round by round: what slowed a whole round down cancels."""
    return [value / base for value, base in zip(values, reference, strict=True)]
