"""Results as Markdown for a pull request, and in short for a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict

from bench.report import wording
from bench.report.wording import escaped, figure, markdown_table
from bench.results import FAILED, UNAVAILABLE, Case, Ceiling, Results
from inspector.core.text import plain_table, wrapped

_WORDS = ("", "limited by", "of its ceiling")
FEW = 4
"""Cases of each group on a terminal, beside those tied with the fastest."""


def report_lines(results: Results) -> list[str]:
    """Lines of report.md."""
    found = results.recommendation
    lines = ["# Benchmark: engines and settings on this machine", ""]
    lines += [f"**{escaped(found.sentence)}**", ""]
    for text in filter(None, (found.limits, found.remembered)):
        lines += [escaped(text), ""]
    lines += _failures(results)
    for name in wording.inputs(results):
        title = wording.heading(name, results.inputs.get(name))
        lines += [f"## {title}: from files to a table", "", *_paths(wording.paths(results, name))]
    lines += ["## Engines alone, at their best batch size", ""]
    lines += _engines(wording.at_best(wording.engines(results)))
    lines += ["## What this machine can do at most", "", *_ceilings(results.ceilings)]
    lines += ["## What could not run here", "", *_unavailable(results)]
    lines += ["## How", "", escaped(wording.scale(results)), ""]
    lines += [f"- {escaped(text)}" for text in results.method]
    images = {name: asdict(of) for name, of in results.inputs.items()}
    facts = {**results.settings, "model": results.model, **images, **results.system}
    rows = [[name, wording.plain(value)] for name, value in facts.items()]
    lines += ["", "<details><summary>Settings and machine</summary>", ""]
    return [*lines, *markdown_table(("", "value"), rows, words=("value",)), "", "</details>"]


def _failures(results: Results) -> Iterator[str]:
    if failed := wording.without_figures(results, FAILED):
        yield f"> [!CAUTION]\n> **{len(failed)} failed**; no figure of theirs counts:"
        yield from (f"> - {_told(case)}" for case in failed)
        yield ""


def _paths(cases: Sequence[Case]) -> list[str]:
    heads = ("case", "images/s (95 %)", "", "batch", "workers", "CPU", "peak MiB", "start",
             "limited by", "other verdicts")  # fmt: skip
    rows = [
        [
            wording.called(case), wording.rate(case), wording.marked(case),
            wording.shown(case.batch_size), wording.shown(case.workers),
            wording.shown(case.usage.cpu_percent, "{:.0f} %"), figure(case.usage.peak_mib),
            wording.seconds(case.start_up.get("start_s")), wording.limit(case),
            wording.other(case),
        ]
        for case in cases
    ]  # fmt: skip
    return _with_findings(heads, rows, cases)


def _engines(cases: Sequence[Case]) -> list[str]:
    heads = ("engine", "images/s (95 %)", "", "batch", "p50 ms", "p95 ms", "p99 ms", "import",
             "opening", "of its ceiling", "other verdicts")  # fmt: skip
    rows = [
        [
            case.name, wording.rate(case), wording.marked(case),
            wording.shown(case.batch_size), *wording.latency(case, "p50", "p95", "p99"),
            wording.seconds(case.start_up.get("import_s")),
            wording.seconds(case.start_up.get("open_s")), wording.shares(case),
            wording.other(case),
        ]
        for case in cases
    ]  # fmt: skip
    return _with_findings(heads, rows, cases)


def _with_findings(
    heads: Sequence[str], rows: Sequence[Sequence[str]], cases: Sequence[Case]
) -> list[str]:
    table = markdown_table(heads, rows, words=_WORDS) if rows else []
    return [*table, "", *(line for text in wording.findings(cases) for line in (escaped(text), ""))]


def _ceilings(ceilings: Mapping[str, Ceiling]) -> list[str]:
    heads = ("ceiling", "measured", "unit", "how")
    rows = [[of.what, figure(of.peak), of.unit, of.reason or of.how] for of in ceilings.values()]
    return [*(markdown_table(heads, rows, words=heads[2:]) if rows else ["Not measured."]), ""]


def _unavailable(results: Results) -> list[str]:
    lines = [f"- {_told(case)}" for case in wording.without_figures(results, UNAVAILABLE)]
    return [*(lines or ["Everything asked for ran."]), ""]


def _told(case: Case) -> str:
    return f"{escaped(wording.subject(case))}: {escaped(wording.trouble(case))}"


def terminal_lines(results: Results) -> list[str]:
    """Recommendation, the fastest of each group and failures, in at most 80 columns."""
    found = results.recommendation
    lines = wrapped("", found.sentence, 0)
    lines += [line for text in (found.limits, found.remembered) for line in wrapped("", text, 0)]
    for case in wording.without_figures(results, FAILED):
        lines += ["", *wrapped("FAILED ", f"{wording.subject(case)}: {wording.trouble(case)}", 0)]
    for name in wording.inputs(results):
        title = f"{wording.heading(name, results.inputs.get(name))}, files to table"
        cases = wording.paths(results, name)
        lines += _few(title, cases)
        lines += [line for text in wording.findings(cases) for line in wrapped("", text, 0)]
    lines += _few("Engines alone", wording.at_best(wording.engines(results)))
    missing: dict[str, list[str]] = {}
    for case in wording.without_figures(results, UNAVAILABLE):
        missing.setdefault(wording.trouble(case), []).append(wording.subject(case))
    lines += [""] * bool(missing)
    for reason, names in missing.items():
        more = f"; {len(names) - FEW} more" if len(names) > FEW else ""
        lines += wrapped("", f"Not measured, {reason}: {'; '.join(names[:FEW])}{more}", 0)
    return lines


def _few(title: str, cases: Sequence[Case]) -> list[str]:
    shown = [case for k, case in enumerate(cases) if k < FEW or case.best or case.tied]
    if not shown:
        return ["", f"{title}: nothing ran and was right."]
    rows = [[wording.called(case), wording.rate(case), wording.marked(case)] for case in shown]
    lines = ["", *plain_table((title, "images/s (95 %)", ""), rows)]
    if len(shown) < len(cases):
        lines.append(f"and {len(cases) - len(shown)} slower")
    return lines
