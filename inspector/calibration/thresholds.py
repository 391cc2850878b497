"""Thresholds that meet targets with confidence, and what may then be claimed."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from decimal import ROUND_CEILING, ROUND_FLOOR, Context, Decimal
from typing import TYPE_CHECKING, Any

import numpy as np

from inspector.calibration.costs import cheapest
from inspector.calibration.edges import names_of, percent, safest_edge
from inspector.errors import DataError
from inspector.model.bundle import Thresholds
from inspector.model.odds import log_odds, probability
from inspector.model.verdict import decide
from inspector.types import Verdict

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from inspector.calibration.edges import Edge
    from inspector.calibration.rule import Rule
    from inspector.types import JsonObject

DIGITS = 4
"""Thresholds are rounded to so many significant digits, away from the verdict they guard."""
_SIDES = (("missed", "{} with cracks", "clear"), ("alarms", "crack-free {}", "crack"))
_SATURATED = "no threshold keeps the target for crack-free images: some have probability 1"


@dataclass(frozen=True, slots=True)
class Judged:
    """N labelled images with the model's answers: `p_N` float probabilities of a crack,
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
    """By the rule's costs, or else its targets; `on` names the images. Their `evidence` holds rule,
    claims and counts, `chosen` the same in words."""
    if rule.costs is not None:
        low, high = cheapest(judged.p_N, judged.is_crack_N, rule.costs, rule.prevalence)
        claims: tuple[str, ...] = (_costs_in_words(rule),)
        edges: JsonObject = {}
    else:
        missed, alarms = _edge(judged, rule, cracks=True), _edge(judged, rule, cracks=False)
        low, high = _apart(missed.at, -alarms.at)
        claims = (
            missed.claim("cracks on images", "called clear", rule.confidence),
            _SATURATED
            if alarms.at <= -1
            else alarms.claim("crack-free images", "called crack", rule.confidence),
        )
        edges = {"missed": missed.to_json(), "alarms": alarms.to_json()}
    thresholds = Thresholds(
        clear_below=_down(min(low, rule.highest_clear)),
        crack_from=_up(max(high, rule.lowest_crack)),
    )
    counts = count_verdicts(judged, thresholds)
    sentence = f"on {on}: {'; '.join(claims)}; {_counts_in_words(counts)}"
    return Thresholds(
        clear_below=thresholds.clear_below,
        crack_from=thresholds.crack_from,
        chosen=sentence,
        evidence={"rule": asdict(rule), **edges, "claims": list(claims), "counts": counts},
    )


def recalibrated(
    judged: Judged, rule: Rule, own: Thresholds, *, on: str, allow_laxer: bool
) -> Thresholds:
    """Thresholds in place of a model's `own`. Laxer are those that call more photos clear: nobody
    looks at these again, so `clear_below` does not rise unless `allow_laxer`; `crack_from` misses
    no crack and may move either way. What `clear_below` was held back from stands in the evidence
    as `would_be_clear_below`.

    Raises DataError where the images are too few to show the targets.
    """
    chosen = choose_thresholds(judged, rule, on=on)
    if lacking := list(_lacking(chosen)):
        several = any(len(chosen.evidence[side]["parts"]) > 1 for side, *_ in _SIDES)
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


def _lacking(chosen: Thresholds) -> Iterator[str]:
    """What the images cannot show, and how many it takes."""
    for side, images, verdict in _SIDES:
        evidence = chosen.evidence.get(side, {"parts": []})
        for part in evidence["parts"]:
            if part["at_most"] > evidence["asked"]:
                several = len(evidence["parts"]) > 1
                whose = f" of {names_of(part['sources'])}" if several else ""
                these = f"{part['units']:,} {images.format(evidence['counted'])}{whose}"
                yield (
                    f"{these} can show no less than {percent(part['at_most'])} called {verdict}, "
                    f"and for {percent(evidence['asked'])} it takes {evidence['needed']:,}"
                )


def _edge(judged: Judged, rule: Rule, *, cracks: bool) -> Edge:
    """How far `clear` may reach up into the cracks, or `crack` down into the rest: the same, seen
    from the other end."""
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
    """`clear` may reach up to `low`, `crack` must stay above `high`. Where that leaves no band, one
    threshold halfway (in log odds) keeps both and is far from either's images."""
    above = float(np.nextafter(np.float32(high), np.float32(2)))
    if low <= above:
        return low, min(above, 1.0)
    middle = halfway(above, low)
    middle = max(_down(middle), above)
    return middle, middle


def halfway(p: float, q: float) -> float:
    """The probability halfway between two others in log odds."""
    return float(probability(log_odds([p, q]).mean()))


def _down(threshold: float) -> float:
    return _rounded(threshold, ROUND_FLOOR)


def _up(threshold: float) -> float:
    return _rounded(threshold, ROUND_CEILING)


def _rounded(threshold: float, direction: str) -> float:
    """To `DIGITS` of its distance from the nearer of 0 and 1: near 1 they say as much as near 0."""
    exact = Decimal(repr(float(threshold)))  # what is rounded already stays as it is
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
        f"of these, {total['missed']:,} of {total['cracks']:,} cracks were called clear, "
        f"{total['alarms']:,} of {total['clears']:,} crack-free images crack, and "
        f"{total['review'] / images:.1%} are for review"
    )


def _costs_in_words(rule: Rule) -> str:
    assert rule.costs is not None
    mix = "as many have a crack as here" if rule.prevalence is None else (
        f"{rule.prevalence:.2%} have a crack"
    )  # fmt: skip
    return (
        f"least expected cost where a missed crack costs {rule.costs.miss:g}, a false alarm "
        f"{rule.costs.false_alarm:g}, a look {rule.costs.look:g}, and {mix}; nothing is guaranteed"
    )
