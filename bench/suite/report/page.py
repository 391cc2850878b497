"""The page: one document that needs nothing but itself."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.report import figure
from bench.suite.report import groups, wording
from inspector.version import __version__

if TYPE_CHECKING:
    from collections.abc import Sequence

    from inspector.evaluation.charts import Drawn
    from inspector.types import JsonObject

TEMPLATE = "suite.html.jinja"
MOST_TAILS = 5
"""Engines, the fastest, whose slow batches are drawn; the table has all."""


def render_page(results: JsonObject) -> str:
    """report.html. Everything from outside is escaped."""
    from inspector.core.pages import page_environment

    environment = page_environment(Path(__file__).parent / "template")
    environment.filters["figure"] = figure
    images = [_of_images(results, name) for name in groups.inputs(results)]
    cases = groups.engines(results)
    return environment.get_template(TEMPLATE).render(
        results=results,
        version=__version__,
        words=wording,
        images=images,
        engines=cases,
        best_engines=groups.at_best(cases),
        failed=groups.failed(results),
        unavailable=groups.unavailable(results),
        called=groups.called,
        **_engine_charts(results),
        share_charts=_share_charts(results, images),
    )


def _of_images(results: JsonObject, name: str) -> dict[str, Any]:
    """What the page says about whole paths on one kind of images."""
    from bench.suite.report.charts import draw_rates, draw_stages

    cases = groups.paths(results, name)
    staged = [case for case in cases if case["stage_seconds"]]
    title = wording.heading(name, results["inputs"].get(name))
    return {
        "name": name,
        "title": title,
        "facts": results["inputs"].get(name),
        "cases": cases,
        "gpu": any(case["usage"].get("gpu_percent") is not None for case in cases),
        "rates": [draw_rates(title, name, cases)] if cases else [],
        "stages": [draw_stages(title, name, staged)] if staged else [],
    }


def _engine_charts(results: JsonObject) -> dict[str, list[Drawn]]:
    from bench.suite.report.charts import (
        MOST_LINES,
        draw_curves,
        draw_latencies,
        draw_rates,
        draw_tail,
    )

    best = groups.at_best(groups.engines(results))
    if not best:
        return {"engine_charts": [], "latency_charts": [], "tail_charts": []}
    curves = groups.curves(results, MOST_LINES)
    drawn = [draw_rates("At the best batch size", "engines", best)]
    if any(len(cases) > 1 for _, cases in curves):
        drawn.append(draw_curves(curves))
    timed = [(name, [c for c in cases if c["latency_ms"]]) for name, cases in curves]
    timed = [(name, cases) for name, cases in timed if cases]
    return {
        "engine_charts": drawn,
        "latency_charts": [draw_latencies(timed)] if timed else [],
        "tail_charts": [draw_tail(k, *of) for k, of in enumerate(timed[:MOST_TAILS])],
    }


def _share_charts(results: JsonObject, images: Sequence[dict[str, Any]]) -> list[Drawn]:
    from bench.suite.report.charts import draw_shares

    parts = [("Engines alone", "engines", groups.at_best(groups.engines(results)))]
    parts += [(of["title"], of["name"], groups.at_best(of["cases"])) for of in images]
    limited = [(title, key, [c for c in cases if c["shares"]]) for title, key, cases in parts]
    return [draw_shares(title, key, cases) for title, key, cases in limited if cases]
