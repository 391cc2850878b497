"""Two benchmarks, case by case: regression, improvement or not distinguishable; and the comparison
as text, for a terminal and as Markdown."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from statistics import median

from bench.report.wording import escaped, figure, markdown_table
from bench.results import FAILED, Case, Images, Results
from bench.rounds import Interval, ratio_of
from inspector.core.text import plain_table, quantity, wrapped
from inspector.errors import UsageError
from inspector.types import JsonObject

BUSY = 0.5
"""Load average per core at the start, from which a machine was not idle."""
TOO_FEW = "too few rounds to tell"
_MACHINE = ("cpu", "cpu_flags", "usable_cores", "container_cores", "memory_gib", "gpus", "platform")
_DRIVER = re.compile(r", driver [^,]+")
"""In a GPU's description; another driver is another version and no other machine."""
_SOFTWARE = ("crack-inspector", "python", "driver")


class Change(StrEnum):
    """Result of comparing a case's two measurements."""

    REGRESSION = "regression"
    IMPROVEMENT = "improvement"
    SAME = "not distinguishable"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """One case in both results. Rates are median images/s; latencies the 95th percentile of a
    batch, milliseconds; None where there is none."""

    id: str
    change: Change
    reason: str
    """Why it is that, where the ratio does not say it."""
    rate_a: float | None
    rate_b: float | None
    ratio: Interval | None
    """Ratio of the rates, B to A."""
    p95_ms_a: float | None
    p95_ms_b: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Changes from A to B."""

    threshold: float
    cases: tuple[Pair, ...]
    only_a: tuple[str, ...]
    only_b: tuple[str, ...]
    differences: tuple[str, ...]
    """Sentences on what else changed: machine, model, images, versions."""
    ceilings: Mapping[str, float]
    """Ratios of the machine's own ceilings, B to A."""

    @property
    def regressed(self) -> bool:
        return bool(self.of(Change.REGRESSION))

    def of(self, change: Change) -> list[Pair]:
        """Cases that changed in this way."""
        return [case for case in self.cases if case.change is change]

    def to_json(self) -> JsonObject:
        """For programs; `regressed` decides the exit code."""
        return {"format": 2, "regressed": self.regressed, **asdict(self)}


def compare(a: Results, b: Results, *, threshold: float = 0.05) -> Comparison:
    """Compare two results, A before and B after. Images/s count as changed from a share of
    `threshold` on, however certain a smaller change is. Raises UsageError unless that is within 0
    to 1."""
    if not 0 <= threshold < 1:
        raise UsageError(f"--threshold {threshold} is not a share from 0 to below 1, such as 0.05")
    pairs, only_a, only_b = _matched(a.cases, b.cases)
    same_images = a.inputs == b.inputs
    peaks = {k: (a.ceilings[k].peak, of.peak) for k, of in b.ceilings.items() if k in a.ceilings}
    return Comparison(
        threshold=threshold,
        cases=tuple(_compared(x, y, threshold, same_images=same_images) for x, y in pairs),
        only_a=only_a,
        only_b=only_b,
        differences=tuple(differences(a, b)),
        ceilings={k: after / before for k, (before, after) in peaks.items() if before and after},
    )


def _matched(
    before: Sequence[Case], after: Sequence[Case]
) -> tuple[list[tuple[Case, Case]], tuple[str, ...], tuple[str, ...]]:
    """Pairs of cases, and the ids that only one side has. A program that could not run has one
    entry instead of one for each of its settings: it stands for all of them."""
    of_a, of_b = ({case.id: case for case in cases} for cases in (before, after))
    pairs = [(x, y) for x in before if (y := of_b.get(x.id) or _given_up(x, after))]
    pairs += [(x, y) for y in after if y.id not in of_a and (x := _given_up(y, before))]
    in_a, in_b = {x.id for x, _ in pairs}, {y.id for _, y in pairs}
    only_a = tuple(name for name in of_a if name not in in_a)
    return pairs, only_a, tuple(name for name in of_b if name not in in_b)


def _given_up(case: Case, cases: Sequence[Case]) -> Case | None:
    """The entry that says why the same program could not run at all."""
    return next((c for c in cases if not c.counts and case.id.startswith(f"{c.id}/")), None)


def _compared(a: Case, b: Case, threshold: float, *, same_images: bool) -> Pair:
    ratio = ratio_of(b.rates, a.rates) if a.counts and b.counts else None
    change, reason = _judge(a, b, ratio, threshold, same_images=same_images)
    return Pair(
        id=max(a.id, b.id, key=len),
        change=change,
        reason=reason,
        rate_a=a.median or None,
        rate_b=b.median or None,
        ratio=ratio,
        p95_ms_a=(a.latency_ms or {}).get("p95"),
        p95_ms_b=(b.latency_ms or {}).get("p95"),
    )


def _judge(
    a: Case, b: Case, ratio: Interval | None, threshold: float, *, same_images: bool
) -> tuple[Change, str]:
    """Classify a pair; say why where its ratio does not."""
    if ratio is None:
        return _judge_broken(a, b)
    before, now = (case.answers.missed_cracks if case.answers else 0 for case in (a, b))
    if same_images and now > before:
        return Change.REGRESSION, f"{now} cracks called clear, before {before}"
    if ratio.low is None:
        return Change.SAME, TOO_FEW
    if not ratio.differs_from_one or abs(ratio.median - 1) < threshold:
        return Change.SAME, ""
    return (Change.REGRESSION if ratio.median < 1 else Change.IMPROVEMENT), ""


def _judge_broken(a: Case, b: Case) -> tuple[Change, str]:
    """At least one of the two has no figures that count."""
    if b.status == FAILED and a.status != FAILED:
        return Change.REGRESSION, f"failed now: {b.reason}"
    if a.counts:
        return Change.REGRESSION, f"{b.status} now: {b.reason or 'not measured'}"
    if b.counts:
        return Change.IMPROVEMENT, f"was {a.status}: {a.reason or 'not measured'}"
    return Change.SAME, f"{b.status}, before {a.status}: {b.reason}"


def differences(a: Results, b: Results) -> Iterator[str]:
    """Sentences on what else changed from A to B: a ratio of figures from two machines says
    nothing about two versions."""
    changed = [
        f"{key.replace('_', ' ')} {one} in A, {other} in B"
        for key in _MACHINE
        if (one := _plain(a.system.get(key))) != (other := _plain(b.system.get(key)))
    ]
    if changed:
        yield f"Another machine: {'; '.join(changed)}. The ratios compare machines, not versions."
    if a.model.get("digest") != b.model.get("digest"):
        models = (f"{of.model.get('name')} {str(of.model.get('digest'))[:12]}" for of in (a, b))
        yield "Another model: {} in A, {} in B.".format(*models)
    for name in dict.fromkeys((*a.inputs, *b.inputs)):
        one, other = (_images(of.inputs.get(name)) for of in (a, b))
        if one != other:
            yield f"Other {name}: {one} in A, {other} in B."
    if versions := ", ".join(_versions(a.system, b.system)):
        yield f"Other versions: {versions}."
    if a.mode != b.mode:
        yield f"Another mode: {a.mode} in A, {b.mode} in B."
    for side, results in (("A", a), ("B", b)):
        load, cores = results.system.get("load_average"), results.system.get("usable_cores")
        if load and cores and load > BUSY * cores:
            yield f"{side} began on a busy machine: load average {load:g} on {cores} cores."


def _versions(a: JsonObject, b: JsonObject) -> Iterator[str]:
    one, other = (
        {**system.get("packages", {})} | {key: system.get(key) for key in _SOFTWARE}
        for system in (a, b)
    )
    for name in dict.fromkeys((*one, *other)):
        if one.get(name) != other.get(name):
            yield f"{name} {one.get(name) or 'missing'} in A, {other.get(name) or 'missing'} in B"


def _images(facts: Images | None) -> str:
    if facts is None:
        return "none"
    size = f"{facts.width} x {facts.height} px"
    return f"{facts.files} of {size}, {facts.megabytes} MB, {facts.origin}"


def _plain(value: object) -> str:
    if isinstance(value, list):
        return _DRIVER.sub("", " ".join(map(str, value))) or "none"
    return "unknown" if value is None else str(value)


_TITLES = {
    Change.REGRESSION: "Regressions",
    Change.IMPROVEMENT: "Improvements",
    Change.SAME: "Not distinguishable",
}
_HEADS = ("case", "A", "B", "B/A", "95 %", "p95 ms")
MOST_SAME = 8
"""Cases without a change that a terminal shows; Markdown and JSON have all."""
MOVED = 0.05
"""Share by which the machine's own ceilings may differ before it is pointed out."""


def terminal_lines(found: Comparison) -> list[str]:
    """Lines about a comparison, in at most 80 columns."""
    lines = [*wrapped("", verdict(found), 0), ""]
    for change, title in _TITLES.items():
        cases = found.of(change)
        if change is Change.SAME:
            cases = [case for case in cases if case.rate_a or case.rate_b]
        shown = cases[:MOST_SAME] if change is Change.SAME else cases
        if not shown:
            continue
        lines += [f"{title}, images/s", *plain_table(_HEADS, [_cells(case) for case in shown])]
        for case in shown:
            lines += wrapped("  ", f"{case.id}: {case.reason}", 4) if case.reason else []
        if len(shown) < len(cases):
            lines.append(f"and {len(cases) - len(shown)} more (--json has all)")
        lines.append("")
    return lines + [line for text in remarks(found) for line in wrapped("", text, 0)]


def markdown_lines(found: Comparison) -> list[str]:
    """All cases; what did not change is folded away."""
    lines = ["### Benchmark: what changed", "", f"**{verdict(found)}**", ""]
    for change, title in _TITLES.items():
        cases = found.of(change)
        if not cases:
            continue
        folded = change is Change.SAME
        lines += ["<details>", f"<summary>{title}: {len(cases)}</summary>", ""] * folded
        lines += [f"#### {title}, images/s", ""] * (not folded)
        rows = [[*_cells(case), case.reason] for case in cases]
        heads = (*_HEADS, "") if any(case.reason for case in cases) else _HEADS
        lines += [*markdown_table(heads, [row[: len(heads)] for row in rows], words=("",)), ""]
        lines += ["</details>", ""] * folded
    return lines + [f"- {escaped(sentence)}" for sentence in remarks(found)]


def verdict(found: Comparison) -> str:
    """The outcome in one sentence."""
    slower, faster, same = (len(found.of(change)) for change in _TITLES)
    if not found.cases:
        return "A and B have no case in common: nothing could be compared."
    text = f"{quantity(slower, 'regression')}, {quantity(faster, 'improvement')}, {same} without"
    return f"{text} a change beyond chance, of {quantity(len(found.cases), 'case')} in both."


def remarks(found: Comparison) -> Iterator[str]:
    """Sentences that one needs to read the ratios."""
    yield from found.differences
    moved = [k for k, by in found.ceilings.items() if abs(math.log(by)) > math.log1p(MOVED)]
    if moved:
        text = ", ".join(f"{name} {found.ceilings[name]:.2f}" for name in moved)
        yield (
            f"The machine's own ceilings are not the same, B/A: {text}. The machine, not the "
            "program, may be what changed."
        )
    ratios = [case.ratio.median for case in found.cases if case.ratio is not None]
    if len(ratios) > 1:
        span = f"{min(ratios):.2f} to {max(ratios):.2f}"
        yield f"All cases together: B/A {median(ratios):.2f} in the middle, {span}."
    for side, names in (("A", found.only_a), ("B", found.only_b)):
        if names:
            yield f"Only in {side}: {', '.join(names)}."
    if neither := [case.id for case in found.cases if not case.rate_a and not case.rate_b]:
        yield f"Not measured in either: {', '.join(neither)}."
    if few := sum(case.reason == TOO_FEW for case in found.cases):
        yield f"Too few rounds to tell: {quantity(few, 'case')} had fewer than 3 in A or B."
    yield (
        f"A case counts as changed when its images/s differ by at least {found.threshold:.0%} and "
        "the 95 % interval of B/A (bootstrap over the rounds) does not hold 1. Among many cases "
        "some few may do so by chance; measure again what surprises. p95: of a batch."
    )


def _cells(case: Pair) -> list[str]:
    ratio = case.ratio
    interval = "..".join(f"{bound:.2f}" for bound in ratio.bounds) if ratio else ""
    latency = f"{figure(case.p95_ms_a)} > {figure(case.p95_ms_b)}"
    return [
        case.id,
        figure(case.rate_a),
        figure(case.rate_b),
        f"{ratio.median:.2f}" if ratio else "-",
        interval or "-",
        latency if case.p95_ms_a or case.p95_ms_b else "-",
    ]
