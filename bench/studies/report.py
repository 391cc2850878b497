"""Results of a study as files and as text; every figure in the text comes from the JSON."""

from __future__ import annotations

import json
import textwrap
from statistics import median
from typing import TYPE_CHECKING

from bench.report.wording import figure
from inspector.errors import OutputError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from inspector.types import JsonObject

    Columns = Mapping[str, Callable[[JsonObject], str]]
    """Title of a column, and its text for a case."""

RESULTS, REPORT = "results.json", "report.md"
_WIDTH = 80
_NOTHING = "-"


def write(out: Path, results: JsonObject, columns: Columns) -> None:
    """Write both files. Raises OutputError."""
    try:
        text = json.dumps(results, indent=1, allow_nan=False) + "\n"
        (out / RESULTS).write_text(text, encoding="utf-8")
        (out / REPORT).write_text(render(results, columns), encoding="utf-8")
    except OSError as error:
        raise OutputError(f"cannot write to {out} ({error.strerror}); use another --out") from error


def render(results: JsonObject, columns: Columns) -> str:
    """The whole report as Markdown."""
    facts = {**results["settings"], **results["system"]}
    return "\n".join(
        [
            f"# Benchmark: {results['benchmark']}",
            "",
            *table(results, columns),
            "",
            *(line for text in results["method"] for line in (*textwrap.wrap(text, _WIDTH), "")),
            "| setting or machine | |",
            "|---|---|",
            *(f"| {name} | {_plain(value)} |" for name, value in facts.items()),
            "",
        ]
    )


def table(results: JsonObject, columns: Columns) -> list[str]:
    """One line per case, and below them why a case has no figures or cannot be trusted."""
    cases = results["cases"]
    cells = [list(columns), *([cell(case) for cell in columns.values()] for case in cases)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = [
        "| " + " | ".join(text.ljust(w) for text, w in zip(row, widths, strict=True)) + " |"
        for row in cells
    ]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    for case in cases:
        if case["reason"]:
            text = f"{case['name']} {case['status']}: {case['reason']}"
            lines += ["", *textwrap.wrap(text, _WIDTH, break_long_words=False)]
    return lines


def spread(values: Sequence[float]) -> dict[str, float]:
    """`median`, `min` and `max` of at least one value."""
    return {"median": median(values), "min": min(values), "max": max(values)}


def figures(summary: Mapping[str, float] | None) -> str:
    """Text of a `spread`: median and range."""
    if summary is None:
        return _NOTHING
    return "{} ({}..{})".format(*(figure(summary[key]) for key in ("median", "min", "max")))


def _plain(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {of}" for name, of in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value)) or "none"
    return "unknown" if value is None else str(value)
