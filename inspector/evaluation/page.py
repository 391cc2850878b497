"""The report: its page as HTML, and the three files, each written in one step."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from inspector.core.durable import check_writable, make_directory, publish, reporting
from inspector.core.pages import page_environment
from inspector.errors import OutputError
from inspector.evaluation import charts, wording
from inspector.evaluation.figures import Evaluation, Figures
from inspector.evaluation.gallery import collect
from inspector.evaluation.predictions import LabelledPredictions, to_parquet
from inspector.labelled.leaks import MEANING, LeakAudit, LeakKind
from inspector.model.bundle import ModelBundle, Thresholds
from inspector.version import __version__

PAGE = "report.html"
METRICS = "metrics.json"
PREDICTIONS = "predictions.parquet"
FILES = (PAGE, METRICS, PREDICTIONS)
THRESHOLDS = "What other thresholds would cost"
"""Title of a chart."""
MOST_PANELS = 12
"""Sources, the largest, that get charts of their own."""


@dataclass(frozen=True, slots=True)
class TrainingRun:
    """A training, for the report on its validation images. `history` holds one row per epoch
    (`epoch`, `train_loss`, `validation_loss`, `train_accuracy`, `validation_accuracy`,
    `learning_rate`); `log` is its output."""

    history: Sequence[dict[str, Any]]
    log: str
    settings: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """The head of the report."""

    title: str
    data: str
    """The labelled folder."""
    made: str
    """Local time of the report."""
    gallery: int = 60
    """Pictures shown at most in each gallery."""
    training: TrainingRun | None = None


def check_free(out: Path) -> None:
    """Raises OutputError when `out` holds anything but an earlier report."""
    check_writable(out)
    with reporting(out, lambda: "nothing was evaluated"):
        others = sorted(set(os.listdir(out)) - set(FILES)) if os.path.exists(out) else []
    if others:
        raise OutputError(
            f"{out} holds other files than an earlier report ({others[0]}"
            f"{', ...' if len(others) > 1 else ''}); choose another --out"
        )


def write_report(
    out: Path,
    subject: Subject,
    evaluation: Evaluation,
    found: LabelledPredictions,
    bundle: ModelBundle,
    leaks: LeakAudit | None = None,
) -> None:
    """Write or replace `report.html`, `metrics.json` and `predictions.parquet` in `out`. Raises
    OutputError."""
    page = render_page(subject, evaluation, found, bundle, leaks)
    figures = json.dumps(evaluation.to_json(), indent=2) + "\n"
    with reporting(out, lambda: "the figures are lost"):
        make_directory(out)
        publish(to_parquet(found, None if leaks is None else leaks.leaked_paths), out / PREDICTIONS)
        publish(figures.encode(), out / METRICS)
        publish(page.encode(), out / PAGE)


def render_page(
    subject: Subject,
    evaluation: Evaluation,
    found: LabelledPredictions,
    bundle: ModelBundle,
    leaks: LeakAudit | None = None,
) -> str:
    """The page as one HTML document without outside references; all names are escaped."""
    environment = page_environment(Path(__file__).parent / "template")
    environment.filters["short"] = wording.short
    galleries = collect(found, bundle.preprocess, leaks, limit=subject.gallery)
    kinds = found.by_thresholds(bundle)
    return environment.get_template("evaluation.html.jinja").render(
        subject=subject,
        evaluation=evaluation,
        kinds=kinds,
        one_threshold=all(used.clear_below >= used.crack_from for _, used, _ in kinds),
        leaks=leaks,
        version=__version__,
        infinity=float("inf"),
        words=wording,
        meanings=[MEANING[kind] for kind in LeakKind if leaks and leaks.counts[kind]],
        **_tables(evaluation.sources, with_ood=found.ood_N is not None),
        **_charts(found, bundle),
        history=charts.draw_history(subject.training.history) if subject.training else [],
        galleries=galleries,
        heated=any(cam_HW.size for cam_HW in found.cam_NHW),
    )


def _tables(sources: Sequence[Figures], *, with_ood: bool) -> dict[str, Any]:
    """Heads and rows of each table, one row per source."""
    last = None if with_ood else -1
    *groups, (shares, names) = wording.VERDICT_GROUPS
    groups.append((shares, names[:last]))
    heads = [name for _, names in groups for name in names]
    spans = [(title, len(names)) for title, names in groups]
    edges = [sum(span for _, span in spans[:k]) for k in range(len(spans))]

    def table(
        columns: Sequence[str], cells: Callable[[Figures], Sequence[wording.Cell]], **more: Any
    ) -> dict[str, Any]:
        rows = [(source, cells(source)) for source in sources]
        return {"columns": columns, "rows": rows, "groups": [], "edges": [], **more}

    return {
        "verdict_table": table(
            heads, lambda f: wording.verdict_cells(f)[:last], groups=spans, edges=edges
        ),
        "ranking_table": table(
            wording.titles(wording.RANKING),
            lambda f: [wording.cell(f, measure) for measure in wording.RANKING],
        ),
        "decision_table": table(
            ["cracks called clear", "clear called crack", *wording.titles(wording.DECISIONS)],
            wording.decision_cells,
        ),
        "calibration_table": table(
            [*wording.titles(wording.CALIBRATION), "best temperature"], wording.calibration_cells
        ),
    }


def _charts(found: LabelledPredictions, bundle: ModelBundle) -> dict[str, list[charts.Drawn]]:
    """Charts by their section; one that would show a single point is not drawn. Those that show
    thresholds are of images that the same ones decided, and say of which where there are others."""
    panels = _panels(found)
    mixed = len(found.by_thresholds(bundle)) > 1

    def judged(
        name: str, part: LabelledPredictions
    ) -> Iterator[tuple[str, LabelledPredictions, Thresholds]]:
        for kind, used, of_kind in part.by_thresholds(bundle):
            if len(of_kind.p_crack_N) > 1:
                yield f"{name}, {kind}" if mixed else name, of_kind, used

    scored = [one for name, part in panels for one in judged(name, part)]
    return {
        "ranking_charts": [*charts.draw_roc(found), *charts.draw_precision_recall(found)],
        "threshold_charts": [
            charts.draw_thresholds(*one, k) for k, one in enumerate(judged(THRESHOLDS, found))
        ],
        "reliability_charts": [
            chart
            for k, (n, part) in enumerate(panels)
            for chart in charts.draw_reliability(n, part, k)
        ],
        "score_charts": [charts.draw_scores(*one, k) for k, one in enumerate(scored)],
    }


def _panels(found: LabelledPredictions) -> list[tuple[str, LabelledPredictions]]:
    """All images, then the largest sources by name."""
    parts = found.by_source() if len(found.by_source()) > 1 else []
    largest = sorted(parts, key=lambda part: -part[1].sum())[:MOST_PANELS]
    own = [(name, found.only(of_N)) for name, of_N in sorted(largest, key=lambda part: part[0])]
    return [("all images", found), *own]
