"""A comparison as text: for a terminal, and as Markdown."""

from __future__ import annotations

import math
from collections.abc import Iterator
from statistics import median
from typing import TYPE_CHECKING

from bench.report import figure
from bench.suite.compare import Change
from bench.suite.text import escaped, markdown_table
from inspector.core.text import plain_table, wrapped

if TYPE_CHECKING:
    from bench.suite.compare import Compared, Comparison

_TITLES = {
    Change.REGRESSION: "Regressions",
    Change.IMPROVEMENT: "Improvements",
    Change.NOISE: "Noise",
}
_HEADS = ("case", "A", "B", "B/A", "95 %", "p95 ms")
MOST_NOISE = 8
"""Cases without a change that a terminal shows; Markdown and JSON have all."""
MOVED = 0.05
"""Share by which the machine's own ceilings may differ before it is pointed out."""


def terminal_lines(found: Comparison) -> list[str]:
    """At most 80 columns."""
    lines = [*wrapped("", verdict(found), 0), ""]
    for change, title in _TITLES.items():
        cases = found.of(change)
        if change is Change.NOISE:
            cases = [case for case in cases if case.rate_a or case.rate_b]
        shown = cases[:MOST_NOISE] if change is Change.NOISE else cases
        if not shown:
            continue
        lines += [f"{title}, images/s", *plain_table(_HEADS, [_cells(case) for case in shown])]
        lines += _reasons(shown)
        if len(shown) < len(cases):
            lines.append(f"and {len(cases) - len(shown)} more (--json has all)")
        lines.append("")
    for sentence in remarks(found):
        lines += wrapped("", sentence, 0)
    return lines


def markdown_lines(found: Comparison) -> list[str]:
    """All cases; what did not change is folded away."""
    lines = ["### Benchmark: what changed", "", f"**{verdict(found)}**", ""]
    for change, title in _TITLES.items():
        cases = found.of(change)
        if not cases:
            continue
        folded = change is Change.NOISE
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
    text = f"{_count(slower, 'regression')}, {_count(faster, 'improvement')}, {same} without"
    return f"{text} a change beyond chance, of {_count(len(found.cases), 'case')} in both."


def remarks(found: Comparison) -> Iterator[str]:
    """What one must know to read the ratios."""
    yield from found.differences
    yield from _shift(found)
    for side, names in (("A", found.only_a), ("B", found.only_b)):
        if names:
            yield f"Only in {side}: {', '.join(names)}."
    neither = [case.id for case in found.cases if not case.rate_a and not case.rate_b]
    if neither:
        yield f"Not measured in either: {', '.join(neither)}."
    few = sum(case.reason == "too few rounds to tell" for case in found.cases)
    if few:
        yield f"Too few rounds to tell: {_count(few, 'case')} had fewer than 2 in A or B."
    tested = sum(case.p_value is not None for case in found.cases)
    yield (
        f"A case counts as changed when its images/s differ by at least {found.threshold:.0%} and "
        f"Welch's t test on the logarithms of its rounds says p < 0.05 after Holm's correction for "
        f"{_count(tested, 'case')}. Each interval is for its case alone. p95: of a batch."
    )


def _shift(found: Comparison) -> Iterator[str]:
    """Whether the machine itself, or everything at once, was faster or slower."""
    moved = {k: by for k, by in found.limits.items() if abs(math.log(by)) > math.log1p(MOVED)}
    if moved:
        text = ", ".join(f"{name} {by:.2f}" for name, by in moved.items())
        yield (
            f"The machine's own ceilings are not the same, B/A: {text}. The machine, not the "
            "program, may be what changed."
        )
    ratios = [case.ratio for case in found.cases if case.ratio is not None]
    if len(ratios) > 1:
        span = f"{min(ratios):.2f} to {max(ratios):.2f}"
        yield f"All cases together: B/A {median(ratios):.2f} in the middle, {span}."


def _cells(case: Compared) -> list[str]:
    interval = f"{case.low:.2f}..{case.high:.2f}" if case.low and case.high else "-"
    latency = f"{figure(case.p95_ms_a)} > {figure(case.p95_ms_b)}"
    return [
        case.id,
        figure(case.rate_a),
        figure(case.rate_b),
        f"{case.ratio:.2f}" if case.ratio else "-",
        interval,
        latency if case.p95_ms_a or case.p95_ms_b else "-",
    ]


def _reasons(cases: list[Compared]) -> list[str]:
    return [
        line
        for case in cases
        if case.reason
        for line in wrapped("  ", f"{case.id}: {case.reason}", 4)
    ]


def _count(number: int, word: str) -> str:
    return f"{number} {word}{'' if number == 1 else 's'}"
