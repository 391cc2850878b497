"""How far a model can be trusted on labelled images: figures, and a page that shows them.

`inspector evaluate` and `inspector train` write the same three files: `report.html`, which needs
nothing but itself, `metrics.json` and `predictions.parquet`.
"""

from __future__ import annotations

from inspector.evaluation.assess import assess
from inspector.evaluation.figures import ALL_SOURCES, Evaluation, Figures, Measured
from inspector.evaluation.files import (
    METRICS,
    PAGE,
    PREDICTIONS,
    check_free,
    read_metrics,
    write_report,
)
from inspector.evaluation.judged import JudgedImages
from inspector.evaluation.judging import judge_images
from inspector.evaluation.mistakes import misclassified
from inspector.evaluation.page import Subject, TrainingRun

from inspector.evaluation.config import EvaluateConfig  # isort: skip
from inspector.evaluation.console import render, to_json  # isort: skip
from inspector.evaluation.run import Watcher, evaluate  # isort: skip

__all__ = [
    "ALL_SOURCES",
    "METRICS",
    "PAGE",
    "PREDICTIONS",
    "EvaluateConfig",
    "Evaluation",
    "Figures",
    "JudgedImages",
    "Measured",
    "Subject",
    "TrainingRun",
    "Watcher",
    "assess",
    "check_free",
    "evaluate",
    "judge_images",
    "misclassified",
    "read_metrics",
    "render",
    "to_json",
    "write_report",
]
