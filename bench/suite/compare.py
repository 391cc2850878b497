"""Two runs of the suite, case by case: regression, improvement or noise.

Chance alone makes some of many cases look different. Each case therefore has the interval of its
own ratio, at 95 %, and is told apart by its p-value after Holm's correction over all cases
compared: the probability that even one of them is called a regression or an improvement by chance
is at most 5 %. That holds as long as rounds differ only by chance. It says nothing about what
changed with the machine between the two runs, which is why the ceilings stand beside it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from bench.stats import CONFIDENCE
from bench.suite.differences import differences
from bench.suite.noise import rates_apart
from inspector.errors import UsageError

if TYPE_CHECKING:
    from inspector.types import JsonObject


class Change(StrEnum):
    """What a case's two measurements say."""

    REGRESSION = "regression"
    IMPROVEMENT = "improvement"
    NOISE = "noise"


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """One case in both results. Rates are median images/s; latencies the 95th percentile of a
    batch, milliseconds; None where there is none."""

    id: str
    change: Change
    reason: str
    """Why it is that, where the ratio does not say it."""
    rate_a: float | None
    rate_b: float | None
    ratio: float | None
    """Of the rates, B to A."""
    low: float | None
    high: float | None
    """95 % interval of the ratio, for this case alone."""
    p_value: float | None
    p_corrected: float | None
    """After Holm's correction."""
    p95_ms_a: float | None
    p95_ms_b: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """What changed from A to B."""

    threshold: float
    cases: tuple[Compared, ...]
    only_a: tuple[str, ...]
    only_b: tuple[str, ...]
    differences: tuple[str, ...]
    """Sentences on what else changed: machine, model, images, versions."""
    limits: Mapping[str, float]
    """The machine's own ceilings, B to A."""

    @property
    def regressed(self) -> bool:
        return bool(self.of(Change.REGRESSION))

    def of(self, change: Change) -> list[Compared]:
        return [case for case in self.cases if case.change is change]

    def to_json(self) -> JsonObject:
        """For programs; `regressed` decides the exit code."""
        return {"format": 1, "regressed": self.regressed, **asdict(self)}

    def lines(self) -> list[str]:
        """For a terminal of 80 columns."""
        from bench.suite.changes import terminal_lines

        return terminal_lines(self)

    def markdown(self) -> list[str]:
        """For a pull request."""
        from bench.suite.changes import markdown_lines

        return markdown_lines(self)


def compare(a: JsonObject, b: JsonObject, *, threshold: float = 0.05) -> Comparison:
    """What changed from A to B, two results.json. `threshold`: share of its images/s that a case
    must lose to be a regression, however certain that is; a gain must undo such a loss to be an
    improvement, so that B against A is the mirror image. Raises UsageError for a threshold outside
    0..1."""
    if not 0 <= threshold < 1:
        raise UsageError(f"--threshold {threshold} is not a share from 0 to below 1, such as 0.05")
    pairs, only_a, only_b = _matched(a["cases"], b["cases"])
    ratios = [rates_apart(y, x) if _right(x) and _right(y) else {} for x, y in pairs]
    tested = [p for of in ratios if (p := of.get("p_value")) is not None]
    corrected = iter(holm(tested))
    same_images = a["inputs"] == b["inputs"]
    found = []
    for (x, y), of in zip(pairs, ratios, strict=True):
        p_corrected = next(corrected) if of.get("p_value") is not None else None
        change, reason = _judge(x, y, of, p_corrected, threshold, same_images=same_images)
        found.append(_compared(x, y, of, p_corrected, change, reason))
    return Comparison(
        threshold=threshold,
        cases=tuple(found),
        only_a=only_a,
        only_b=only_b,
        differences=tuple(differences(a, b)),
        limits=_limit_ratios(a["limits"], b["limits"]),
    )


def holm(p_values: Sequence[float]) -> list[float]:
    """P-values corrected for their number, in the order given (Holm 1979, A simple sequentially
    rejective multiple test procedure). It holds however the tests depend on each other."""
    order = sorted(range(len(p_values)), key=lambda k: p_values[k])
    corrected, largest = [0.0] * len(p_values), 0.0
    for place, k in enumerate(order):
        largest = max(largest, min(1.0, (len(order) - place) * p_values[k]))
        corrected[k] = largest
    return corrected


def _matched(
    before: Sequence[JsonObject], after: Sequence[JsonObject]
) -> tuple[list[tuple[JsonObject, JsonObject]], tuple[str, ...], tuple[str, ...]]:
    """Pairs of cases, and the ids that only one side has. A program that could not run has one
    entry instead of one for each of its settings: it stands for all of them."""
    of_a, of_b = ({case["id"]: case for case in cases} for cases in (before, after))
    pairs = [(x, y) for x in before if (y := of_b.get(x["id"]) or _given_up(x, after))]
    pairs += [(x, y) for y in after if y["id"] not in of_a and (x := _given_up(y, before))]
    in_a, in_b = {x["id"] for x, _ in pairs}, {y["id"] for _, y in pairs}
    only_a = tuple(name for name in of_a if name not in in_a)
    return pairs, only_a, tuple(name for name in of_b if name not in in_b)


def _given_up(case: JsonObject, cases: Sequence[JsonObject]) -> JsonObject | None:
    """The entry that says why the same program could not run at all."""
    fitting = (c for c in cases if not _right(c) and case["id"].startswith(f"{c['id']}/"))
    return next(fitting, None)


def _right(case: JsonObject) -> bool:
    return bool(case["status"] == "ok" and case["rates"])


def _judge(
    a: JsonObject,
    b: JsonObject,
    of: Mapping[str, float | None],
    p_corrected: float | None,
    threshold: float,
    *,
    same_images: bool,
) -> tuple[Change, str]:
    """What a pair is called and, where its ratio does not say so, why."""
    if not (_right(a) and _right(b)):
        return _judge_broken(a, b)
    missed = [case["answers"]["missed_cracks"] if case["answers"] else 0 for case in (a, b)]
    if same_images and missed[1] > missed[0]:
        return Change.REGRESSION, f"{missed[1]} cracks called clear, before {missed[0]}"
    by, p_value = of["ratio"], of["p_value"]
    if by is None or p_value is None or p_corrected is None:
        return Change.NOISE, "too few rounds to tell"
    chance = 1 - CONFIDENCE
    slower, faster = by <= 1 - threshold, by * (1 - threshold) >= 1
    if p_corrected < chance and (slower or faster):
        return (Change.REGRESSION if slower else Change.IMPROVEMENT), ""
    if p_value < chance and (slower or faster):
        return Change.NOISE, "by itself it would count, among so many cases it may be chance"
    return Change.NOISE, ""


def _judge_broken(a: JsonObject, b: JsonObject) -> tuple[Change, str]:
    """At least one of the two has no figures that count."""
    if b["status"] == "failed" and a["status"] != "failed":
        return Change.REGRESSION, f"failed now: {b['reason']}"
    if _right(a):
        return Change.REGRESSION, f"{b['status']} now: {b['reason'] or 'not measured'}"
    if _right(b):
        return Change.IMPROVEMENT, f"was {a['status']}: {a['reason'] or 'not measured'}"
    return Change.NOISE, f"{b['status']}, before {a['status']}: {b['reason']}"


def _compared(
    a: JsonObject,
    b: JsonObject,
    of: Mapping[str, float | None],
    p_corrected: float | None,
    change: Change,
    reason: str,
) -> Compared:
    return Compared(
        id=max(a["id"], b["id"], key=len),
        change=change,
        reason=reason,
        rate_a=a["rate"] and a["rate"]["median"],
        rate_b=b["rate"] and b["rate"]["median"],
        ratio=of.get("ratio"),
        low=of.get("low"),
        high=of.get("high"),
        p_value=of.get("p_value"),
        p_corrected=p_corrected,
        p95_ms_a=a["latency_ms"] and a["latency_ms"]["p95"],
        p95_ms_b=b["latency_ms"] and b["latency_ms"]["p95"],
    )


def _limit_ratios(a: JsonObject, b: JsonObject) -> dict[str, float]:
    """Of the ceilings that both have measured."""
    return {
        name: of["median"] / a[name]["median"]
        for name, of in b.items()
        if name in a and of["median"] and a[name]["median"]
    }
