"""The page: one document that needs nothing but itself."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.report import wording
from inspector.version import __version__

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.results import Results
    from inspector.evaluation.charts import Drawn

TEMPLATE = "bench.html.jinja"


def render_page(results: Results) -> str:
    """Content of report.html. Everything from outside is escaped."""
    from inspector.core.pages import page_environment

    environment = page_environment(Path(__file__).parent / "template")
    environment.filters["figure"] = wording.figure
    images = [_of_images(results, name) for name in wording.inputs(results)]
    cases = wording.engines(results)
    return environment.get_template(TEMPLATE).render(
        results=results,
        version=__version__,
        words=wording,
        images=images,
        engines=cases,
        best_engines=wording.at_best(cases),
        failed=wording.failed(results),
        unavailable=wording.unavailable(results),
        engine_charts=_engine_charts(results),
        share_charts=_share_charts(results, images),
    )


def _of_images(results: Results, name: str) -> dict[str, Any]:
    """Template values about whole paths on one kind of images."""
    from bench.report.charts import draw_rates, draw_stages

    cases = wording.paths(results, name)
    staged = [case for case in cases if case.stage_seconds]
    title = wording.heading(name, results.inputs.get(name))
    return {
        "name": name,
        "title": title,
        "facts": results.inputs.get(name),
        "cases": cases,
        "gpu": any(case.usage.gpu_percent is not None for case in cases),
        "rates": [draw_rates(title, name, cases)] if len(cases) > 1 else [],
        "stages": [draw_stages(title, name, staged)] if staged else [],
    }


def _engine_charts(results: Results) -> list[Drawn]:
    from bench.report.charts import MOST_LINES, draw_curves, draw_rates

    best = wording.at_best(wording.engines(results))
    if not best:
        return []
    drawn = [draw_rates("At the best batch size", "engines", best)] if len(best) > 1 else []
    curves = [line for line in wording.curves(results, MOST_LINES) if len(line[1]) > 1]
    if curves:
        drawn += [
            draw_curves("Images/s by batch size", "batch-sizes", curves, lambda case: case.median),
            draw_curves("p95 of a batch, ms, by batch size", "latencies", curves,
                        lambda case: (case.latency_ms or {}).get("p95", float("nan"))),
        ]  # fmt: skip
    return drawn


def _share_charts(results: Results, images: Sequence[dict[str, Any]]) -> list[Drawn]:
    from bench.report.charts import draw_shares

    parts = [("Engines alone", "engines", wording.at_best(wording.engines(results)))]
    parts += [(of["title"], of["name"], wording.at_best(of["cases"])) for of in images]
    limited = [(title, key, [c for c in cases if c.shares]) for title, key, cases in parts]
    return [draw_shares(title, key, cases) for title, key, cases in limited if cases]
