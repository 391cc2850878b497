"""Thresholds by a rule of targets or costs, and what they guarantee."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from decimal import ROUND_CEILING, ROUND_FLOOR, Context, Decimal
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inspector.calibration.edges import Edge, safest_edge
from inspector.errors import DataError, UsageError
from inspector.model.bundle import Thresholds
from inspector.model.verdict import decide, log_odds, probability
from inspector.types import JsonObject, Verdict

MISSED = 0.1
"""Share of any source's cracks that the default lets be called clear at most, with confidence; of
100 cracks that is 4, so that about one in twenty is expected."""
ALARMS = 0.08
"""Share of any source's crack-free images that may be called crack: 5 of 138."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Costs:
    """The costs of the outcomes, in any unit: only their ratios count.

    Raises UsageError unless all are positive.
    """

    miss: float
    """A crack that is called clear."""
    false_alarm: float
    """A crack-free image that is called crack."""
    review: float | None = None
    """A look at one image; None: half a false alarm."""

    def __post_init__(self) -> None:
        if not all(0 < cost < float("inf") for cost in (self.miss, self.false_alarm, self.look)):
            raise UsageError("costs must be positive numbers")

    @property
    def look(self) -> float:
        return self.false_alarm / 2 if self.review is None else self.review


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """Targets, or costs where there are some. Raises UsageError for impossible values."""

    target_recall: float = 1 - MISSED
    """Share of the cracks that are not called clear, at least."""
    target_specificity: float = 1 - ALARMS
    """Share of the crack-free images that are not called crack, at least."""
    confidence: float = 0.95
    """Probability with which the targets are met on further images like these."""
    by_source: bool = True
    """Every source that has enough images meets the targets, not only all of them together."""
    costs: Costs | None = None
    prevalence: float | None = None
    """Share of images with a crack for which costs are weighed; None: as among the images."""
    highest_clear: float = 1.0
    """Upper limit of `clear_below`."""
    lowest_crack: float = 0.0
    """Lower limit of `crack_from`."""

    def __post_init__(self) -> None:
        shares = {
            "target recall": self.target_recall,
            "target specificity": self.target_specificity,
            "confidence": self.confidence,
            "prevalence": 0.5 if self.prevalence is None else self.prevalence,
        }
        for name, share in shares.items():
            if not 0 < share < 1:
                raise UsageError(f"a {name} of {share:g} is not between 0 and 1")


def for_unseen_walls(rule: Rule) -> Rule:
    """The rule for a training, which is validated on the images at hand: targets that an easy
    validation set meets at any threshold must not make the next wall unsafe."""
    return rule if rule.costs else replace(rule, highest_clear=0.17, lowest_crack=0.5)


def cheapest(
    p_N: NDArray[np.floating[Any]],
    is_crack_N: NDArray[np.bool_],
    costs: Costs,
    prevalence: float | None,
) -> tuple[float, float]:
    """`clear_below` and `crack_from` with the least mean cost over the images, weighed as if a
    share of `prevalence` of them had a crack (None: as many as have).

    Chow (1970) rejects where the posterior's expected cost of either verdict exceeds that of a
    look; a monotone score turns that into two thresholds. They are searched on the images'
    probabilities, which need not be calibrated: among the K + 1 gaps between their K different
    values, of equally cheap ones the lowest `crack_from`, then the lowest `clear_below`.
    """
    share = float(is_crack_N.mean()) if prevalence is None else prevalence
    value_K, place_N = np.unique(p_N, return_inverse=True)
    crack_K = np.bincount(place_N, is_crack_N, len(value_K)) * share / is_crack_N.sum()
    clear_K = np.bincount(place_N, ~is_crack_N, len(value_K)) * (1 - share) / (~is_crack_N).sum()
    # With the gap before value k as a threshold: the cost of all below it, over that of a look at
    # them; likewise of all above it.
    look_K = costs.look * (crack_K + clear_K)
    called_clear = _running(costs.miss * crack_K - look_K)
    called_crack = _running((costs.false_alarm * clear_K - look_K)[::-1])[::-1]
    best_low = np.minimum.accumulate(called_clear)
    # Rounded, so that equal costs are equal in whatever order they were added up.
    high = int(np.argmin(np.round(best_low + called_crack, 12)))
    low = int(np.argmin(np.round(called_clear[: high + 1], 12)))
    # Each threshold lies halfway across its gap in log odds: a little noise changes nothing.
    odds_K = log_odds(value_K)
    middle = np.clip(probability((odds_K[1:] + odds_K[:-1]) / 2), value_K[:-1], value_K[1:])
    gap_G = np.concatenate([[0.0], middle, [1.0]])
    return float(gap_G[low]), float(gap_G[high])


def _running(cost_K: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.concatenate([[0.0], np.cumsum(cost_K)])


DIGITS = 4
"""Thresholds are rounded to so many significant digits, away from the verdict they guard."""
_SIDES = {
    "missed": ("cracks on images", "called clear"),
    "alarms": ("crack-free images", "called crack"),
}
"""The errors that targets bound: the images that must not get a verdict, and the verdict."""
_SATURATED = "no threshold keeps the target for crack-free images: some have probability 1"


@dataclass(frozen=True, slots=True)
class Judged:
    """N labelled images with predictions: `p_N` float probabilities of a crack,
    `is_crack_N` bool, `source_N` and `group_N` str.

    With `group_N`, images of one group are counted as one unit, because they are alike. Raises
    DataError where a class is missing.
    """

    p_N: NDArray[np.floating[Any]]
    is_crack_N: NDArray[np.bool_]
    source_N: NDArray[np.str_]
    group_N: NDArray[np.str_] | None = None

    def __post_init__(self) -> None:
        cracks = int(self.is_crack_N.sum())
        if not 0 < cracks < len(self.is_crack_N):
            raise DataError(
                f"thresholds need images with cracks and without: there are {cracks} with and "
                f"{len(self.is_crack_N) - cracks} without"
            )


def choose_thresholds(judged: Judged, rule: Rule, *, on: str) -> Thresholds:
    """Thresholds by the rule's costs, or else its targets. Their `evidence` holds rule, claims and
    counts, and `chosen` the same in words, in which `on` names the images."""
    return _choose(judged, rule, on)[0]


def recalibrated(
    judged: Judged, rule: Rule, own: Thresholds, *, on: str, allow_laxer: bool
) -> Thresholds:
    """Thresholds in place of a model's `own`. Laxer are those that call more photos clear: nobody
    looks at these again, so `clear_below` does not rise unless `allow_laxer`; `crack_from` misses
    no crack and may move either way. The `clear_below` that was not taken stands in the evidence
    as `would_be_clear_below`.

    Raises DataError where the images are too few to show the targets.
    """
    chosen, edges = _choose(judged, rule, on)
    if lacking := [f"{_SIDES[side][0]}: {e.shortage()}" for side, e in edges.items() if e.short]:
        several = any(len(edge.parts) > 1 for edge in edges.values())
        raise DataError(
            f"too few photos to choose thresholds by: {'; '.join(lacking)}. The thresholds stay as "
            f"they are (clear below {own.clear_below:g}, crack from {own.crack_from:g}), and "
            "nothing was written; label more photos, ask for less"
            + (", or count all sources together with --pooled" if several else "")
        )
    if allow_laxer or chosen.clear_below <= own.clear_below:
        return chosen
    held = choose_thresholds(judged, replace(rule, highest_clear=own.clear_below), on=on)
    wanted = {"would_be_clear_below": chosen.clear_below}
    return replace(held, evidence=held.evidence | wanted)


def _choose(judged: Judged, rule: Rule, on: str) -> tuple[Thresholds, dict[str, Edge]]:
    """The thresholds, and the edges of the targets that they were chosen by."""
    edges: dict[str, Edge] = {}
    if rule.costs is not None:
        low, high = cheapest(judged.p_N, judged.is_crack_N, rule.costs, rule.prevalence)
        claims = [_costs_in_words(rule, rule.costs)]
    else:
        edges = {side: _edge(judged, rule, cracks=side == "missed") for side in _SIDES}
        low, high = _apart(edges["missed"].at, -edges["alarms"].at)
        claims = [edge.claim(*_SIDES[side], rule.confidence) for side, edge in edges.items()]
        if edges["alarms"].at <= -1:
            claims[1] = _SATURATED
    thresholds = Thresholds(
        clear_below=_rounded(min(low, rule.highest_clear), ROUND_FLOOR),
        crack_from=_rounded(max(high, rule.lowest_crack), ROUND_CEILING),
    )
    counts = count_verdicts(judged, thresholds)
    evidence = {
        "rule": asdict(rule),
        **{side: edge.to_json() for side, edge in edges.items()},
        "claims": claims,
        "counts": counts,
    }
    sentence = f"on {on}: {'; '.join(claims)}; {_counts_in_words(counts)}"
    return replace(thresholds, chosen=sentence, evidence=evidence), edges


def _edge(judged: Judged, rule: Rule, *, cracks: bool) -> Edge:
    """The highest `clear_below` for the cracks, or the lowest `crack_from`, as its negative, for
    the rest."""
    of_N = judged.is_crack_N == cracks
    return safest_edge(
        judged.p_N[of_N] if cracks else -judged.p_N[of_N],
        judged.source_N[of_N],
        None if judged.group_N is None else judged.group_N[of_N],
        share=1 - (rule.target_recall if cracks else rule.target_specificity),
        confidence=rule.confidence,
        by_source=rule.by_source,
    )


def _apart(low: float, high: float) -> tuple[float, float]:
    """Both thresholds from the highest `clear_below` and the images' score that `crack_from` must
    exceed. Where that leaves no band for review, one threshold halfway in log odds meets both."""
    above = float(np.nextafter(np.float32(high), np.float32(2)))
    if low <= above:
        return low, min(above, 1.0)
    middle = float(probability(log_odds([above, low]).mean()))
    middle = max(_rounded(middle, ROUND_FLOOR), above)
    return middle, middle


def _rounded(threshold: float, direction: str) -> float:
    """Rounded to `DIGITS` of the distance from the nearer of 0 and 1."""
    exact = Decimal(repr(float(threshold)))  # a rounded value stays as it is
    if exact <= 0.5:
        return float(Context(prec=DIGITS, rounding=direction).create_decimal(exact))
    opposite = ROUND_FLOOR if direction == ROUND_CEILING else ROUND_CEILING
    return float(1 - Context(prec=DIGITS, rounding=opposite).create_decimal(1 - exact))


def count_verdicts(judged: Judged, thresholds: Thresholds) -> JsonObject:
    """Per source (and `all`, if there are several): `cracks`, of them `missed` (called clear);
    `clears`, of them `alarms` (called crack); `review`, of all."""
    verdict_N, _ = decide(judged.p_N, thresholds)
    clear_N, crack_N = verdict_N == Verdict.CLEAR, verdict_N == Verdict.CRACK
    names = [str(name) for name in np.unique(judged.source_N)]
    members = {name: judged.source_N == name for name in names}
    if len(names) > 1:
        members["all"] = np.ones(len(verdict_N), dtype=np.bool_)
    return {
        name: {
            "cracks": int((of_N & judged.is_crack_N).sum()),
            "missed": int((of_N & judged.is_crack_N & clear_N).sum()),
            "clears": int((of_N & ~judged.is_crack_N).sum()),
            "alarms": int((of_N & ~judged.is_crack_N & crack_N).sum()),
            "review": int((of_N & ~clear_N & ~crack_N).sum()),
        }
        for name, of_N in members.items()
    }


def _counts_in_words(counts: JsonObject) -> str:
    total = counts["all"] if "all" in counts else next(iter(counts.values()))
    images = total["cracks"] + total["clears"]
    return (
        f"of these, {total['missed']:,} of {total['cracks']:,} cracks "
        f"{'was' if total['missed'] == 1 else 'were'} called clear, "
        f"{total['alarms']:,} of {total['clears']:,} crack-free images crack, and "
        f"{total['review'] / images:.1%} are for review"
    )


def _costs_in_words(rule: Rule, costs: Costs) -> str:
    share = "as many" if rule.prevalence is None else f"{rule.prevalence:.2%}"
    mix = f"{share} have a crack" + (" as here" if rule.prevalence is None else "")
    return (
        f"least expected cost where a missed crack costs {costs.miss:g}, a false alarm "
        f"{costs.false_alarm:g}, a look {costs.look:g}, and {mix}; nothing is guaranteed"
    )
