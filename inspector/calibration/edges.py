"""The loosest threshold whose error rate is bounded with the confidence asked for.

`confidence` is the probability (below 1) with which a bound holds, over the draw of the sample.
"""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.special import bdtr, betaincinv
from scipy.stats import binom

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from inspector.types import JsonObject


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


SMALL = 36
"""Fewer units than this cannot show, at 95 % confidence, that a share is at most 8 %."""


@dataclass(frozen=True, slots=True)
class Part:
    """Images that a guarantee holds for by themselves: one source, or several small ones. `units`
    counts images or groups of them; `share` is the bound on the share below the edge."""

    sources: tuple[str, ...]
    units: int
    share: float

    @property
    def name(self) -> str:
        return " with ".join(source or "." for source in self.sources)


@dataclass(frozen=True, slots=True)
class Edge:
    """A threshold `at` below which, with the confidence asked for, lies at most each part's `share`
    of further images. `needed` units would be enough to show the share that was `asked`."""

    at: float
    asked: float
    needed: int
    parts: tuple[Part, ...]
    grouped: bool

    @property
    def short(self) -> tuple[Part, ...]:
        """The parts with too few units to show the share that was asked."""
        return tuple(part for part in self.parts if part.share > self.asked)

    def claim(self, images: str, verdict: str, confidence: float) -> str:
        """The guarantee in words, for the `images` that must not get the `verdict`."""
        kept = [part.name for part in self.parts if part.share <= self.asked]
        of, average = (" of a group", ", on average over groups,") if self.grouped else ("", "")
        whose = f" (each of {', '.join(kept)})" if kept and len(self.parts) > 1 else ""
        share = self.asked if kept else max(part.share for part in self.parts)
        words = (
            f"with {confidence * 100:g} % confidence at most {percent(share)} of {images}{of} "
            f"like these{whose}{average} are {verdict}"
        )
        return f"{words}; {self.shortage()}" if self.short else words

    def shortage(self) -> str:
        """The bounds that parts with too few units can show, and the units needed, in words."""
        unit = "groups" if self.grouped else "images"
        found = ", ".join(
            f"{part.units:,} {unit}{f' of {part.name}' if len(self.parts) > 1 else ''} can "
            f"show no less than {percent(part.share)}"
            for part in self.short
        )
        return f"{found}; for {percent(self.asked)} it takes {self.needed:,}"

    def to_json(self) -> JsonObject:
        return {
            "asked": self.asked,
            "counted": "groups" if self.grouped else "images",
            "needed": self.needed,
            "parts": [
                {"sources": list(p.sources), "units": p.units, "at_most": p.share}
                for p in self.parts
            ],
        }


def percent(share: float) -> str:
    """A bound in percent, rounded up, with no more digits than it needs."""
    return f"{np.ceil(share * 1000 - 1e-6) / 10:g} %"


def safest_edge(
    score_N: NDArray[np.floating[Any]],
    source_N: NDArray[np.str_],
    group_N: NDArray[np.str_] | None,
    *,
    share: float,
    confidence: float,
    by_source: bool,
) -> Edge:
    """The highest score (N >= 1 of them, one class) below which lies so little of each part that,
    with `confidence`, no more than `share` of further exchangeable images lie below it.

    A set of nested decisions with a monotone risk: the first threshold, from below, whose bound
    fails ends the search, and no correction for many looks is needed (Bates et al. 2021, theorem
    1). Singly counted images use Clopper and Pearson's bound, which makes the edge Wilks' (1941)
    tolerance limit, exact; with groups, the loss is the share of a group's images that lie below,
    and the bound that of Hoeffding and Bentkus.
    """
    needed = trials_needed(share, confidence)
    grouped = group_N is not None
    unit_N = np.arange(len(score_N)).astype(str) if group_N is None else group_N
    parts, edges = [], []
    for sources in _parts(source_N, unit_N, by_source=by_source):
        of_N = np.isin(source_N, sources)
        weight_N, units = _weights(unit_N[of_N])
        allowed, bound = (largest_mean, mean_bound) if grouped else (_most, error_bound)
        most = allowed(units, share, confidence)
        # Too few to show the share: none of them may lie below, which shows what they can.
        reached = share if most >= 0 else bound(0, units, confidence)
        parts.append(Part(sources, units, reached))
        edges.append(_highest(score_N[of_N], weight_N, max(most, 0.0)))
    return Edge(min(edges), share, needed, tuple(parts), grouped)


def _most(units: int, share: float, confidence: float) -> float:
    return most_errors(units, share, confidence) / units


def _parts(
    source_N: NDArray[np.str_], unit_N: NDArray[np.str_], *, by_source: bool
) -> list[tuple[str, ...]]:
    """Sources by themselves, and those of fewer than `SMALL` units together. Independent of the
    target, so that a higher one never asks for less."""
    units: dict[str, set[str]] = defaultdict(set)
    for source, unit in zip(source_N.tolist(), unit_N.tolist(), strict=True):
        units[source].add(unit)
    if not by_source:
        return [tuple(sorted(units))]
    large = [(source,) for source in sorted(units) if len(units[source]) >= SMALL]
    rest = tuple(source for source in sorted(units) if len(units[source]) < SMALL)
    return [*large, rest] if rest else list(large)


def _weights(unit_N: NDArray[np.str_]) -> tuple[NDArray[np.float64], int]:
    """Each image's weight in the mean loss, and the number of units: all units weigh the same, and
    so do the images of one."""
    _, member_N, sizes_U = np.unique(unit_N, return_inverse=True, return_counts=True)
    return np.asarray(1 / (sizes_U[member_N] * len(sizes_U))), len(sizes_U)


def _highest(
    score_N: NDArray[np.floating[Any]], weight_N: NDArray[np.float64], allowed: float
) -> float:
    """The highest of the scores below which no more than `allowed` of the weight lies."""
    order = np.argsort(score_N, kind="stable")
    scores, below = score_N[order], np.cumsum(weight_N[order]) - weight_N[order]
    first_of_tie = np.searchsorted(scores, scores, side="left")
    return float(scores[below[first_of_tie] <= allowed + 1e-9].max())
