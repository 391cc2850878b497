"""Figures of a model on labelled images, with intervals, and a page that shows them.

`inspector evaluate` and `inspector train` write the same three files: `report.html`, which needs
nothing but itself, `metrics.json` and `predictions.parquet`.
"""

from __future__ import annotations

from inspector.evaluation.figures import (
    ALL_SOURCES,
    Evaluation,
    Figures,
    Measured,
    assess,
    read_metrics,
)
from inspector.evaluation.gallery import misclassified
from inspector.evaluation.page import (
    METRICS,
    PAGE,
    PREDICTIONS,
    Subject,
    TrainingRun,
    check_free,
    write_report,
)
from inspector.evaluation.predictions import LabelledPredictions, predict_labelled
from inspector.evaluation.run import EvaluateConfig, evaluate
from inspector.evaluation.wording import render

__all__ = [
    "ALL_SOURCES",
    "METRICS",
    "PAGE",
    "PREDICTIONS",
    "EvaluateConfig",
    "Evaluation",
    "Figures",
    "LabelledPredictions",
    "Measured",
    "Subject",
    "TrainingRun",
    "assess",
    "check_free",
    "evaluate",
    "misclassified",
    "predict_labelled",
    "read_metrics",
    "render",
    "write_report",
]
