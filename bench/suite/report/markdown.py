"""The report for a pull request, and its shorter form for a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.report import figure
from bench.suite.report import groups, wording
from bench.suite.text import escaped, markdown_table
from inspector.core.text import plain_table, wrapped

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from inspector.types import JsonObject

_WORDS = ("", "limited by", "of its ceiling")
FEW = 4
"""Cases of each group on a terminal, beside those tied with the fastest."""


def report_lines(results: JsonObject) -> list[str]:
    """report.md."""
    lines = ["# Benchmark: engines and settings on this machine", ""]
    lines += [f"**{escaped(results['recommendation']['sentence'])}**", ""]
    if remembered := results["recommendation"].get("remembered"):
        lines += [escaped(remembered), ""]
    lines += _failures(results)
    for name in groups.inputs(results):
        facts = results["inputs"].get(name)
        lines += [f"## {wording.heading(name, facts)}: from files to a table", ""]
        lines += _paths(groups.paths(results, name))
    lines += ["## Engines alone, at their best batch size", ""]
    lines += _engines(groups.at_best(groups.engines(results)))
    lines += ["## What this machine can do at most", "", *_limits(results["limits"])]
    lines += ["## What could not run here", "", *_unavailable(results)]
    lines += ["## How", "", escaped(wording.scale(results)), ""]
    lines += [line for text in results["method"] for line in (f"- {escaped(text)}",)]
    facts = {**results["settings"], **_model(results), **_images(results), **results["system"]}
    rows = [[name, wording.plain(value)] for name, value in facts.items()]
    lines += ["", "<details><summary>Settings and machine</summary>", ""]
    return [*lines, *markdown_table(("", "value"), rows, words=("value",)), "", "</details>"]


def _failures(results: JsonObject) -> Iterator[str]:
    failed = groups.failed(results)
    if failed:
        yield f"> [!CAUTION]\n> **{len(failed)} failed**; no figure of theirs counts:"
        for case in failed:
            yield f"> - {escaped(wording.subject(case))}: {escaped(wording.trouble(case))}"
        yield ""


def _paths(cases: Sequence[JsonObject]) -> list[str]:
    heads = ("case", "images/s (95 %)", "", "batch", "workers", "CPU", "peak MiB", "start",
             "limited by", "other verdicts")  # fmt: skip
    rows = [
        [
            groups.called(case), wording.rate(case), wording.mark(case), wording.plain_or_dash(
                case["batch_size"]), wording.plain_or_dash(case["workers"]),
            wording.cpu(case), figure(case["usage"].get("peak_mib")),
            wording.seconds(case["start_up"].get("start_s")), wording.limit(case),
            wording.other(case),
        ]
        for case in cases
    ]  # fmt: skip
    table = markdown_table(heads, rows, words=_WORDS) if rows else []
    return [*table, "", *(line for text in wording.findings(cases) for line in (escaped(text), ""))]


def _engines(cases: Sequence[JsonObject]) -> list[str]:
    heads = ("engine", "images/s (95 %)", "", "batch", "p50 ms", "p95 ms", "p99 ms", "import",
             "opening", "of its ceiling", "other verdicts")  # fmt: skip
    rows = [
        [
            case["name"], wording.rate(case), wording.mark(case),
            wording.plain_or_dash(case["batch_size"]), *wording.latency(case, "p50", "p95", "p99"),
            wording.seconds(case["start_up"].get("import_s")),
            wording.seconds(case["start_up"].get("open_s")), wording.shares(case),
            wording.other(case),
        ]
        for case in cases
    ]  # fmt: skip
    table = markdown_table(heads, rows, words=_WORDS) if rows else []
    return [*table, "", *(line for text in wording.findings(cases) for line in (escaped(text), ""))]


def _limits(limits: JsonObject) -> list[str]:
    heads = ("ceiling", "measured", "unit", "how")
    rows = [
        [of["what"], figure(of["median"]), of["unit"], of["reason"] or of["how"]]
        for of in limits.values()
    ]
    return [*markdown_table(heads, rows, words=heads[2:]), ""] if rows else [
        "Not measured.", ""]  # fmt: skip


def _unavailable(results: JsonObject) -> list[str]:
    cases = groups.unavailable(results)
    if not cases:
        return ["Everything asked for ran.", ""]
    listed = (f"- {wording.subject(case)}: {wording.trouble(case)}" for case in cases)
    return [*(f"- {escaped(line[2:])}" for line in listed), ""]


def _model(results: JsonObject) -> JsonObject:
    return {"model": results["model"]}


def _images(results: JsonObject) -> JsonObject:
    return dict(results["inputs"])


def terminal_lines(results: JsonObject) -> list[str]:
    """At most 80 columns: what to use, the fastest of each group, what failed."""
    lines = wrapped("", results["recommendation"]["sentence"], 0)
    if remembered := results["recommendation"].get("remembered"):
        lines += wrapped("", remembered, 0)
    for case in groups.failed(results):
        lines += ["", *wrapped("FAILED ", f"{wording.subject(case)}: {wording.trouble(case)}", 0)]
    for name in groups.inputs(results):
        title = f"{wording.heading(name, results['inputs'].get(name))}, files to table"
        cases = groups.paths(results, name)
        lines += _few(title, cases) + [
            t for text in wording.findings(cases) for t in wrapped("", text, 0)
        ]
    lines += _few("Engines alone", groups.at_best(groups.engines(results)))
    missing = [wording.subject(case) for case in groups.unavailable(results)]
    if missing:
        text = f"Could not run here (reasons in report.md): {'; '.join(missing)}"
        lines += ["", *wrapped("", text, 0)]
    return lines


def _few(title: str, cases: Sequence[JsonObject]) -> list[str]:
    known = groups.fastest_known(cases)
    shown = [case for k, case in enumerate(cases) if k < FEW or case in known]
    if not shown:
        return ["", f"{title}: nothing ran and was right."]
    rows = [[groups.called(case), wording.rate(case), wording.mark(case)] for case in shown]
    lines = ["", *plain_table((title, "images/s (95 %)", ""), rows)]
    if len(shown) < len(cases):
        lines.append(f"and {len(cases) - len(shown)} slower")
    return lines
