"""The page: what the template is given, and the finished HTML."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from inspector.core.pages import page_environment
from inspector.evaluation import wording
from inspector.evaluation.charts import (
    Drawn,
    draw_history,
    draw_precision_recall,
    draw_reliability,
    draw_roc,
    draw_scores,
    draw_thresholds,
    short,
)
from inspector.evaluation.gallery import Galleries, collect
from inspector.labelled.leaks import MEANING, LeakKind
from inspector.version import __version__

if TYPE_CHECKING:
    from inspector.evaluation.figures import Evaluation, Figures
    from inspector.evaluation.judged import JudgedImages
    from inspector.evaluation.wording import Cell, Column
    from inspector.labelled.leaks import LeakAudit
    from inspector.model.bundle import ModelBundle, Thresholds

MOST_PANELS = 12
"""Sources, the largest, that get charts of their own."""


@dataclass(frozen=True, slots=True)
class TrainingRun:
    """What a training adds to the report of its validation set. `history` holds one row per epoch
    (`epoch`, `train_loss`, `validation_loss`, `train_accuracy`, `validation_accuracy`,
    `learning_rate`); `log` is what it printed."""

    history: Sequence[dict[str, Any]]
    log: str
    settings: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """What the report is about, in words for its head."""

    title: str
    data: str
    """The labelled folder."""
    made: str
    """When, local time."""
    gallery: int = 60
    """Pictures shown at most in each of its galleries."""
    training: TrainingRun | None = None


@dataclass(frozen=True, slots=True)
class Table:
    """Rows are sources; the last one stands for all when there are several."""

    columns: Sequence[Column]
    rows: list[tuple[Figures, list[Cell]]]


def table(columns: Sequence[Column], sources: Sequence[Figures]) -> Table:
    return Table(
        columns, [(f, [wording.cell(f.measures[c.measure], c) for c in columns]) for f in sources]
    )


def render_page(
    subject: Subject,
    evaluation: Evaluation,
    judged: JudgedImages,
    bundle: ModelBundle,
    leaks: LeakAudit | None = None,
) -> str:
    """One HTML document that needs nothing but itself. Everything from outside is escaped."""
    environment = page_environment(Path(__file__).parent / "template")
    environment.filters["short"] = short
    return environment.get_template("report.html.jinja").render(
        subject=subject,
        evaluation=evaluation,
        bundle=bundle,
        leaks=leaks,
        version=__version__,
        infinity=float("inf"),
        keys=wording.key_figures(evaluation.overall),
        sentences=wording.plain_words(evaluation),
        flattery=wording.flattery(evaluation),
        unseen_alone=wording.unseen_alone(evaluation),
        meanings=[MEANING[kind] for kind in LeakKind if leaks and leaks.counts[kind]],
        **_tables(evaluation, judged),
        **_charts(judged, bundle.thresholds),
        history=_history(subject.training),
        galleries=_galleries(subject, judged, bundle, leaks),
    )


def _tables(evaluation: Evaluation, judged: JudgedImages) -> dict[str, Table]:
    verdicts = [*wording.VERDICTS]
    if judged.ood_N is not None:
        verdicts.append(wording.FOREIGN)
    return {
        "verdict_table": table(verdicts, evaluation.sources),
        "ranking_table": table(wording.RANKING, evaluation.sources),
        "decision_table": table(wording.DECISIONS, evaluation.sources),
        "calibration_table": table(wording.CALIBRATION, evaluation.sources),
    }


def _charts(judged: JudgedImages, thresholds: Thresholds) -> dict[str, list[Drawn]]:
    panels = _panels(judged)
    return {
        "ranking_charts": [draw_roc(judged), draw_precision_recall(judged)],
        "threshold_charts": [draw_thresholds(judged, thresholds)],
        "reliability_charts": [draw_reliability(n, part, k) for k, (n, part) in enumerate(panels)],
        "score_charts": [draw_scores(n, part, thresholds, k) for k, (n, part) in enumerate(panels)],
    }


def _panels(judged: JudgedImages) -> list[tuple[str, JudgedImages]]:
    """All images, then the largest sources by name."""
    sources = judged.by_source()
    if len(sources) == 1:
        return [("all images", judged)]
    largest = sorted(sources, key=lambda part: -part[1].sum())[:MOST_PANELS]
    return [("all images", judged)] + [(n, judged.only(where_N)) for n, where_N in sorted(
        largest, key=lambda part: part[0])]  # fmt: skip


def _history(run: TrainingRun | None) -> list[Drawn]:
    if run is None or not run.history:
        return []
    epochs = [row["epoch"] for row in run.history]

    def lines(**names: str) -> dict[str, Sequence[float]]:
        return {label: [row[name] for row in run.history] for label, name in names.items()}

    def percent(found: dict[str, Sequence[float]]) -> dict[str, Sequence[float]]:
        return {label: [100 * value for value in values] for label, values in found.items()}

    losses = lines(training="train_loss", validation="validation_loss")
    accuracies = percent(lines(training="train_accuracy", validation="validation_accuracy"))
    rates = lines(rate="learning_rate")
    return [
        draw_history("Loss", "cross-entropy, nats", epochs, losses),
        draw_history("Accuracy", "%", epochs, accuracies),
        draw_history("Learning rate", "at the end of the epoch", epochs, rates),
    ]


def _galleries(
    subject: Subject, judged: JudgedImages, bundle: ModelBundle, leaks: LeakAudit | None
) -> Galleries:
    return collect(judged, bundle.preprocess, leaks, limit=subject.gallery)
