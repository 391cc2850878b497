"""The page: one document that needs nothing but itself, with charts in SVG at a size that a phone
can show. Bars carry their names and figures as text: that fits a narrow page, and nothing is said
by colour alone."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.ceilings import limited_by
from bench.report import wording
from bench.report.wording import called, figure, label
from bench.results import FAILED, PEER, UNAVAILABLE, Case, Results
from inspector.core.pages import page_environment
from inspector.core.text import printable
from inspector.evaluation import charts
from inspector.evaluation.charts import INK, MUTED, PAPER, SERIES, Chart, Drawn
from inspector.version import __version__

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from matplotlib.axes import Axes


MARKERS = "os^Dvph"
HATCHES = ("", "///", "...", "\\\\\\", "xxx", "---", "|||")
"""Of stages, for those who do not see the colours apart."""
MOST_LINES = len(SERIES)
"""Engines in one chart of curves, the fastest; tables have all."""
ROW_IN, BAR = 0.43, 0.36
"""Height of a row of bars with its text, inches, and the bar's share of it."""
_MARGIN_IN, _BELOW_IN = 0.12, 0.58
"""Beside and above the bars; below them, for the axis."""


def render_page(results: Results) -> str:
    """Content of report.html. Everything from outside is escaped."""
    environment = page_environment(Path(__file__).parent / "template")
    environment.filters["figure"] = figure
    images = [_of_images(results, name) for name in wording.inputs(results)]
    cases = wording.engines(results)
    best = wording.at_best(cases)
    limited = [("Engines alone", "engines", best)]
    limited += [(of["title"], of["name"], wording.at_best(of["cases"])) for of in images]
    return environment.get_template("bench.html.jinja").render(
        results=results,
        version=__version__,
        words=wording,
        images=images,
        engines=cases,
        best_engines=best,
        failed=wording.without_figures(results, FAILED),
        unavailable=wording.without_figures(results, UNAVAILABLE),
        engine_charts=_engine_charts(results, best),
        share_charts=[chart for part in limited for chart in draw_shares(*part)],
    )


def _of_images(results: Results, name: str) -> dict[str, Any]:
    """Template values about whole paths on one kind of images."""
    cases, facts = wording.paths(results, name), results.inputs.get(name)
    title = wording.heading(name, facts)
    return {
        "name": name,
        "title": title,
        "facts": facts,
        "cases": cases,
        "gpu": any(case.usage.gpu_percent is not None for case in cases),
        "rates": draw_rates(title, name, cases),
        "stages": draw_stages(title, name, [case for case in cases if case.stage_seconds]),
    }


def _engine_charts(results: Results, best: Sequence[Case]) -> list[Drawn]:
    drawn = draw_rates("At the best batch size", "engines", best)
    curves = [line for line in wording.curves(results, MOST_LINES) if len(line[1]) > 1]
    if curves:
        drawn += [
            draw_curves("Images/s by batch size", "batch-sizes", curves, lambda case: case.median),
            draw_curves("p95 of a batch, ms, by batch size", "latencies", curves,
                        lambda case: (case.latency_ms or {}).get("p95", float("nan"))),
        ]  # fmt: skip
    return drawn


@dataclass(frozen=True, slots=True)
class Row:
    """A bar: its value, perhaps with an interval, and the texts above and behind it."""

    name: str
    text: str
    value: float
    colour: str
    reach: tuple[float, ...] = ()
    bold: bool = False

    @property
    def end(self) -> float:
        return max((self.value, *self.reach))


def draw_rates(title: str, key: str, cases: Sequence[Case]) -> list[Drawn]:
    """Images per second with 95 % intervals, fastest first; nothing where there is one case."""
    if len(cases) < 2:
        return []
    rows = []
    for case in cases:
        reach = case.rate.bounds if case.rate else ()
        own = SERIES[0] if case.best or case.tied else MUTED
        colour = SERIES[1] if case.level == PEER else own
        name = ": ".join(filter(None, (called(case), wording.marked(case))))
        rows.append(Row(name, wording.rate(case), case.median, colour, reach, case.best))
    svg, told = _bars(f"rates-{key}", rows, "images/s", room=0.37)
    caption = "Whiskers and brackets: 95 % intervals over the rounds."
    return [Drawn(title, svg, f"Images/s: {told}.", caption)]


def draw_shares(title: str, key: str, cases: Sequence[Case]) -> list[Drawn]:
    """Bars of the share of its highest ceiling that each case reaches; nothing where none is
    known."""
    rows = []
    for case in cases:
        if case.shares:
            share, name = max((share, name) for name, share in case.shares.items())
            colour = SERIES[2] if limited_by(case) else MUTED
            text = f"{100 * share:.0f} % of {name}"
            rows.append(Row(called(case), text, 100 * share, colour))
    if not rows:
        return []
    svg, told = _bars(f"shares-{key}", rows, "% of the ceiling", room=0.47, end=100)
    alt = f"Shares of the highest ceiling: {told}."
    return [Drawn(title, svg, alt, "Grey: far from every ceiling that was measured.")]


def _bars(
    name: str, rows: Sequence[Row], unit: str, *, room: float, end: float = 0
) -> tuple[str, str]:
    """Horizontal bars with their text behind them, for which the share `room` of the width is left,
    as SVG and in words; the axis ends at `end` or beyond the longest."""
    longest = max(end, *(row.end for row in rows))
    with Chart(name, height=ROW_IN * len(rows) + _BELOW_IN + _MARGIN_IN) as chart:
        axes = _rows(chart, len(rows), longest, room)
        for k, row in enumerate(rows):
            axes.barh(k + 0.2, row.value, height=BAR, color=row.colour)
            if row.reach:
                axes.plot(row.reach, (k + 0.2,) * 2, color=INK, linewidth=1.2, marker="|",
                          markersize=5)  # fmt: skip
            _write(axes, k, row.name, row.text, row.end, row.bold)
        axes.set(xlabel=unit)
    return chart.svg, "; ".join(f"{row.name} {row.text}" for row in rows)


def _rows(chart: Chart, count: int, longest: float, room: float) -> Axes:
    """Axes with a row for each bar, the first on top, and nothing to their left."""
    from matplotlib.ticker import MaxNLocator

    axes = chart.axes()
    ticks = MaxNLocator(4).tick_values(0, longest)
    width, height = chart.figure.get_size_inches()
    chart.figure.subplots_adjust(
        left=_MARGIN_IN / width, right=1 - _MARGIN_IN / width, bottom=_BELOW_IN / height
    )
    axes.set(xlim=(0, longest / (1 - room)), ylim=(count - 0.5, -0.6), yticks=[])
    axes.set_xticks([tick for tick in ticks if tick <= longest])
    axes.spines["left"].set_visible(False)
    return axes


def _write(axes: Axes, k: int, name: str, text: str, end: float, bold: bool = False) -> None:
    """The name above a bar, and what it amounts to behind its `end`."""
    weight = "bold" if bold else "normal"
    axes.text(0, k - 0.05, printable(name), va="bottom", weight=weight)
    axes.annotate(text, (end, k + 0.2), (5, 0), textcoords="offset points", va="center",
                  weight=weight)  # fmt: skip


def draw_curves(
    title: str, key: str, curves: Sequence[tuple[str, Sequence[Case]]],
    value: Callable[[Case], float],
) -> Drawn:  # fmt: skip
    """A figure of each engine by its batch sizes, two or more; both axes grow by factors."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    told = []
    with Chart(key, legend_rows=-(-len(curves) // 2)) as chart:
        axes = chart.axes()
        for k, (name, cases) in enumerate(curves):
            sizes = [case.batch_size or 1 for case in cases]
            values = list(map(value, cases))
            axes.plot(sizes, values, label=printable(name), **_style(k))
            pairs = zip(sizes, values, strict=True)
            told.append(f"{name} {', '.join(f'{figure(v)} at {size}' for size, v in pairs)}")
        ticks = sorted({case.batch_size or 1 for _, cases in curves for case in cases})
        axes.set_xscale("log", base=2)
        axes.set_xticks(ticks, list(map(str, ticks)))
        axes.minorticks_off()
        axes.set(xlabel="images in a batch", yscale="log")
        # Plain numbers where Matplotlib would write powers.
        low, high = axes.get_ylim()
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if high < 300 * low else (1,)))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.yaxis.set_minor_formatter(NullFormatter())
        charts.legend_above(axes)
    return Drawn(
        title, chart.svg, f"By batch size: {'; '.join(told)}.", "Both axes grow by factors."
    )


def _style(k: int) -> dict[str, Any]:
    """Lines differ in colour, dashes and marks."""
    dashes = charts.DASHES[k % len(charts.DASHES)]
    return {"color": SERIES[k], "linestyle": dashes, "marker": MARKERS[k], "markersize": 4.5,
            "markeredgecolor": PAPER}  # fmt: skip


def draw_stages(title: str, key: str, cases: Sequence[Case]) -> list[Drawn]:
    """Where a scan's wall time goes, start-up first; nothing without scans."""
    if not cases:
        return []
    names = list(dict.fromkeys(name for case in cases for name in case.stage_seconds))
    lines = -(-len(names) // 2)
    longest = max(sum(case.stage_seconds.values()) for case in cases)
    height = ROW_IN * len(cases) + _BELOW_IN + _MARGIN_IN + charts.LINE_IN * lines
    with Chart(f"stages-{key}", height=height, legend_rows=lines) as chart:
        axes = _rows(chart, len(cases), longest, room=0.14)
        start = np.zeros(len(cases))
        for k, stage in enumerate(names):
            spent = np.array([case.stage_seconds.get(stage, 0.0) for case in cases])
            axes.barh(np.arange(len(cases)) + 0.2, spent, height=BAR, left=start,
                      color=MUTED if stage == "start" else SERIES[k % len(SERIES)],
                      edgecolor=PAPER, linewidth=0.8, hatch=HATCHES[k % len(HATCHES)],
                      label=_stage(stage))  # fmt: skip
            start += spent
        told = []
        for k, case in enumerate(cases):
            _write(axes, k, label(case), f"{figure(start[k])} s", start[k])
            parts = [f"{_stage(name)} {figure(s)}" for name, s in case.stage_seconds.items()]
            told.append(f"{label(case)} {figure(start[k])} ({', '.join(parts)})")
        axes.set(xlabel="seconds of a whole run")
        charts.legend_above(axes)
    return [Drawn(title, chart.svg, f"Seconds of a whole run: {'; '.join(told)}.")]


def _stage(name: str) -> str:
    return wording.STAGES.get(name, printable(name))
