"""A comparison of two results as text: for a terminal, and as Markdown."""

from __future__ import annotations

import math
from statistics import median
from typing import TYPE_CHECKING

from bench.compare import TOO_FEW, Change
from bench.report.wording import escaped, figure, markdown_table
from inspector.core.text import plain_table, wrapped

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bench.compare import Comparison, Pair

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
    text = f"{_count(slower, 'regression')}, {_count(faster, 'improvement')}, {same} without"
    return f"{text} a change beyond chance, of {_count(len(found.cases), 'case')} in both."


def remarks(found: Comparison) -> Iterator[str]:
    """Sentences that one needs to read the ratios."""
    yield from found.differences
    moved = {k: by for k, by in found.ceilings.items() if abs(math.log(by)) > math.log1p(MOVED)}
    if moved:
        text = ", ".join(f"{name} {by:.2f}" for name, by in moved.items())
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
    neither = [case.id for case in found.cases if not case.rate_a and not case.rate_b]
    if neither:
        yield f"Not measured in either: {', '.join(neither)}."
    few = sum(case.reason == TOO_FEW for case in found.cases)
    if few:
        yield f"Too few rounds to tell: {_count(few, 'case')} had fewer than 3 in A or B."
    yield (
        f"A case counts as changed when its images/s differ by at least {found.threshold:.0%} and "
        "the 95 % interval of B/A (bootstrap over the rounds) does not hold 1. Among many cases "
        "some few may do so by chance; measure again what surprises. p95: of a batch."
    )


def _cells(case: Pair) -> list[str]:
    ratio = case.ratio
    interval = f"{ratio.low:.2f}..{ratio.high:.2f}" if ratio and ratio.low and ratio.high else "-"
    latency = f"{figure(case.p95_ms_a)} > {figure(case.p95_ms_b)}"
    return [
        case.id,
        figure(case.rate_a),
        figure(case.rate_b),
        f"{ratio.median:.2f}" if ratio else "-",
        interval,
        latency if case.p95_ms_a or case.p95_ms_b else "-",
    ]


def _count(number: int, word: str) -> str:
    return f"{number} {word}{'' if number == 1 else 's'}"
